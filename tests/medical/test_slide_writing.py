"""Masks of slides: tiles, levels and the scale."""

import numpy as np
import pytest
import tifffile

from segkit.data.masks import read_values
from segkit.medical import slide_writing
from segkit.medical.slide import slide_of
from segkit.medical.slide_writing import write_pyramid

LABELS = np.random.default_rng(0).integers(0, 5, (300, 500), dtype=np.uint8)


@pytest.fixture
def small(monkeypatch):
    """What is large is a matter of some hundred pixels."""
    for name, value in (("TILED", 100), ("LARGE", 200), ("TILE", 64)):
        monkeypatch.setattr(slide_writing, name, value)


def test_a_small_mask_is_one_plain_page(tmp_path):
    write_pyramid(tmp_path / "a.tif", LABELS, (0.5, 0.25))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        (page,) = file.pages
        assert not page.is_tiled
    assert slide_of(tmp_path / "a.tif").levels[0].mpp == pytest.approx((0.5, 0.25), rel=1e-8)
    np.testing.assert_array_equal(read_values(tmp_path / "a.tif"), LABELS)


def test_without_a_scale_none_is_said(tmp_path):
    write_pyramid(tmp_path / "a.tif", LABELS, None)
    assert slide_of(tmp_path / "a.tif").said_by is None


def test_a_larger_one_has_tiles(tmp_path, small):
    labels = LABELS[:150, :190]
    write_pyramid(tmp_path / "a.tif", labels, None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        (page,) = file.pages
        assert page.tile == (64, 64)
    np.testing.assert_array_equal(read_values(tmp_path / "a.tif"), labels)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_large_one_is_a_pyramid_of_class_ids(mapped, tmp_path, small):
    labels = LABELS
    if mapped:
        np.save(tmp_path / "labels.npy", LABELS)
        labels = np.load(tmp_path / "labels.npy", mmap_mode="r")
    write_pyramid(tmp_path / "a.tif", labels, (0.5, 0.25))
    slide = slide_of(tmp_path / "a.tif")
    sizes = [(level.height, level.width) for level in slide.levels]
    assert sizes == [(300, 500), (150, 250), (75, 125), (38, 63)]
    assert slide.levels[0].mpp == pytest.approx((0.5, 0.25), rel=1e-8)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        for number, page in enumerate(file.pages):
            np.testing.assert_array_equal(page.asarray(), LABELS[:: 2**number, :: 2**number])
            assert page.is_reduced == (number > 0)
            across, down = (page.tags[tag].value for tag in (282, 283))
            assert page.tags[296].value == 3
            assert 10_000 * across[1] / across[0] == pytest.approx(0.25 * 500 / page.imagewidth)
            assert 10_000 * down[1] / down[0] == pytest.approx(0.5 * 300 / page.imagelength)
    np.testing.assert_array_equal(read_values(tmp_path / "a.tif"), LABELS)
