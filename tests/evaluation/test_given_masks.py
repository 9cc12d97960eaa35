"""Masks made elsewhere are found by a picture's name, whichever lossless file they are."""

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from segkit.data.folder import open_dataset
from segkit.evaluation.given_masks import given_masks

LEFT = np.array([[1, 1, 0, 0]] * 2, np.uint8)
TOP = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], np.uint8)


@pytest.fixture
def folder(tmp_path):
    """One picture of 2 × 4 pixels with the labels left and top, its masks in PNG."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks" / "a").mkdir(parents=True)
    Image.fromarray(LEFT).save(tmp_path / "images" / "a.png")
    Image.fromarray(LEFT).save(tmp_path / "masks" / "a" / "left.png")
    Image.fromarray(TOP).save(tmp_path / "masks" / "a" / "top.png")
    description = {"classes": ["left", "top"], "task": "multilabel", "splits": {"test": ["a"]}}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(description))
    return open_dataset(tmp_path)


@pytest.mark.parametrize("largest", [1, 255])
def test_labels_in_tiff_are_read_as_ids_or_as_0_and_255(folder, tmp_path, largest):
    given = tmp_path / "given"
    (given / "a_mask").mkdir(parents=True)
    tifffile.imwrite(given / "a_mask" / "left.tif", largest * (1 - LEFT), compression="deflate")
    tifffile.imwrite(given / "a_mask" / "top.tif", largest * TOP, compression="deflate")
    [[labels]] = given_masks(given, folder, folder.samples("test"))
    assert np.array_equal(labels, np.stack([1 - LEFT, TOP]))


@pytest.fixture
def coloured(tmp_path):
    """Two pictures whose masks have colours; the first has background alone."""

    def make(background, cell):
        for name, mask in (("a", np.zeros_like(LEFT)), ("b", LEFT)):
            for kind in ("images", "masks"):
                (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(LEFT).save(tmp_path / "images" / f"{name}.png")
            pixels = np.where(mask[..., None] > 0, np.uint8(cell), np.uint8(background)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "masks" / f"{name}.png")
        palette = {"background": list(background), "cell": list(cell)}
        (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({"palette": palette, "splits": {"test": ["a", "b"]}}))
        return open_dataset(tmp_path)

    return make


@pytest.mark.parametrize(
    ("background", "cell"), [((255, 255, 255), (0, 0, 0)), ((0, 0, 0), (255, 0, 0)), ((0, 0, 0), (255, 255, 255))]
)
def test_masks_in_the_datasets_own_colours_are_read_by_them(coloured, tmp_path, background, cell):
    folder = coloured(background, cell)
    [first], [second] = given_masks(tmp_path / "masks", folder, folder.samples("test"))
    assert (first == 0).all()
    assert np.array_equal(second, LEFT)


@pytest.mark.parametrize("largest", [1, 255])
def test_ids_are_ids_also_where_masks_have_colours(coloured, tmp_path, largest):
    folder = coloured((0, 0, 0), (255, 0, 0))
    (tmp_path / "given").mkdir()
    for name in ("a", "b"):
        Image.fromarray(largest * LEFT).save(tmp_path / "given" / f"{name}.png")
    for [labels] in given_masks(tmp_path / "given", folder, folder.samples("test")):
        assert np.array_equal(labels, LEFT)
