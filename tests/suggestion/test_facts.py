"""Facts measured on pictures whose facts are known."""

import cv2
import numpy as np
import pytest
import tifffile
import yaml

from segkit.data.folder import open_dataset
from segkit.errors import DataError
from segkit.suggestion.facts import measure, width_of


def write(folder, pictures, masks, **description):
    """A dataset of arrays; all pictures train."""
    names = [f"p{i:02}" for i in range(len(pictures))]
    for kind, arrays in (("images", pictures), ("masks", masks)):
        (folder / kind).mkdir(parents=True)
        for name, array in zip(names, arrays, strict=True):
            cv2.imwrite(str(folder / kind / f"{name}.png"), array)
    description = {"classes": ["background", "thing"], "splits": {"train": names}, **description}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(description))
    return open_dataset(folder)


def facts_of(folder):
    return measure(folder, folder.samples("train"))


@pytest.mark.parametrize("thickness", [3, 7, 15])
def test_the_width_of_a_strip_is_its_thickness(thickness):
    layer = np.zeros((64, 200), bool)
    layer[20 : 20 + thickness] = True
    assert width_of(layer) == pytest.approx(thickness, abs=1)


def test_a_disc_is_two_thirds_of_its_diameter_wide():
    layer = np.hypot(*np.mgrid[-50:51, -50:51]) <= 30
    assert width_of(layer) == pytest.approx(40, abs=1.5)


def test_what_leaves_the_picture_has_no_border_there():
    layer = np.zeros((40, 40), bool)
    layer[:, :10] = True
    assert width_of(layer) == pytest.approx(20, abs=1)  # half of a strip of 20


def test_nothing_has_no_width():
    assert np.isnan(width_of(np.zeros((4, 4), bool)))


def test_what_fills_the_picture_has_no_end():
    assert width_of(np.ones((4, 4), bool)) == np.inf


@pytest.mark.parametrize(("length", "width"), [(100, 20), (200, 3)])
def test_a_rare_thin_class_decides_nothing_beside_a_common_one(length, width, tmp_path):
    mask = np.zeros((100, 200), np.uint8)
    mask[20:40] = 1  # 20 % of the pixels, 20 wide
    mask[60:63, :length] = 2  # 1.5 % or 3 % of them, 3 wide
    classes = ["background", "road", "line"]
    folder = write(tmp_path, [np.zeros((100, 200), np.uint8)], [mask], classes=classes, background="background")
    assert facts_of(folder).width == pytest.approx(width, abs=1.5)


def test_sizes_types_and_shares(tmp_path):
    masks = [np.zeros((40, 60), np.uint8), np.zeros((30, 50), np.uint8), np.zeros((40, 80), np.uint8)]
    masks[0][:20] = 1  # 1200 of 2400, 1500 and 3200 pixels
    folder = write(tmp_path, [np.full((*mask.shape, 3), 7, np.uint8) for mask in masks], masks)
    facts = facts_of(folder)
    assert facts.pictures == 3
    assert facts.median == (40, 60)
    assert facts.grey
    assert facts.type == "uint8"
    assert facts.window is None
    assert facts.shares == pytest.approx((5900 / 7100, 1200 / 7100))


def test_the_window_of_16_bit_pictures_is_where_their_values_lie(tmp_path):
    ramp = np.linspace(1000, 5000, 64 * 64).reshape(64, 64).astype(np.uint16)
    facts = facts_of(write(tmp_path, [ramp] * 3, [(ramp > 3000).astype(np.uint8)] * 3))
    assert facts.type == "uint16"
    assert facts.window == pytest.approx((1004, 4996), abs=1)


def test_pictures_too_unlike_for_one_window_take_each_their_own(tmp_path):
    mask = np.eye(64, dtype=np.uint8)
    ramp = np.linspace(0, 255, 64 * 64).reshape(64, 64)
    alike = write(tmp_path / "alike", [(ramp * share).astype(np.uint8) for share in (1, 0.9, 0.5)], [mask] * 3)
    unlike = write(tmp_path / "unlike", [(ramp * share).astype(np.uint8) for share in (1, 0.1, 0.1)], [mask] * 3)
    assert facts_of(alike).window is None
    assert facts_of(unlike).window == "picture"


def test_grey_and_colour_mixed_are_three_channels(tmp_path):
    mask = np.eye(32, dtype=np.uint8)
    colour = np.zeros((32, 32, 3), np.uint8)
    colour[..., 0] = 9
    facts = facts_of(write(tmp_path, [np.zeros((32, 32), np.uint8), colour], [mask] * 2))
    assert (facts.grey, facts.channels) == (False, 3)


def test_other_mixtures_of_channels_are_refused(tmp_path):
    mask = np.eye(32, dtype=np.uint8)
    folder = write(tmp_path, [np.zeros((32, 32), np.uint8)] * 2, [mask] * 2)
    (tmp_path / "images" / "p01.png").unlink()
    tifffile.imwrite(
        tmp_path / "images" / "p01.tif",
        np.zeros((32, 32, 5), np.uint8),
        photometric="minisblack",
        planarconfig="contig",
    )
    folder = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"p01.tif: 5 channels, p00.png has 1; a model takes one number"):
        facts_of(folder)


def test_pictures_with_a_way_up_are_told_from_those_without(tmp_path):
    rng = np.random.default_rng(0)
    above = [np.zeros((64, 64), np.uint8) for _ in range(8)]
    anywhere = [np.zeros((64, 64), np.uint8) for _ in range(8)]
    for mask in above:
        mask[: rng.integers(16, 32)] = 1
    for i, mask in enumerate(anywhere):
        row, column = (int(v) for v in rng.integers(0, 40, 2))
        mask[row : row + 20, column : column + 20] = 1
        anywhere[i] = np.rot90(mask, i).copy()
    picture = np.zeros((64, 64), np.uint8)
    sky = facts_of(write(tmp_path / "sky", [picture] * 8, above))
    cells = facts_of(write(tmp_path / "cells", [picture] * 8, anywhere))
    assert (sky.upright, sky.sided) == (True, False)
    assert (cells.upright, cells.sided) == (False, False)


@pytest.mark.parametrize(("outside", "blank"), [(0, True), (90, False)])
def test_outside_a_region_of_interest_there_is_something_to_see_or_not(outside, blank, tmp_path):
    rng = np.random.default_rng(0)
    inside = np.hypot(*np.mgrid[-32:32, -32:32]) < 28
    picture = np.where(inside, rng.integers(0, 200, (64, 64)), rng.integers(0, 2 + outside * 2, (64, 64)))
    (tmp_path / "fov").mkdir()
    cv2.imwrite(str(tmp_path / "fov" / "p00.png"), inside.astype(np.uint8))
    mask = np.zeros((64, 64), np.uint8)
    mask[30:34] = inside[30:34]
    facts = facts_of(write(tmp_path, [picture.astype(np.uint8)], [mask], roi="fov"))
    assert facts.blank_outside is blank


def test_without_regions_of_interest_there_is_no_outside(tmp_path):
    assert facts_of(write(tmp_path, [np.zeros((32, 32), np.uint8)], [np.eye(32, dtype=np.uint8)])).blank_outside is None


@pytest.mark.parametrize(("pictures", "upright"), [(2, False), (4, True)])
def test_a_few_pictures_lean_to_one_side_by_chance(tmp_path, pictures, upright):
    masks = [np.zeros((60, 60), np.uint8) for _ in range(pictures)]
    for i, mask in enumerate(masks):
        mask[: 30 if i != 1 else 6] = 1
        mask[:: 2 if i == 1 else 60] = 1  # the second hardly leans
    assert facts_of(write(tmp_path, [np.zeros((60, 60), np.uint8)] * pictures, masks)).upright is upright


def test_blank_pictures_say_nothing_of_the_range_of_others(tmp_path):
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    pictures = [ramp] * 8 + [np.full((64, 64), 9, np.uint8)] * 2
    assert facts_of(write(tmp_path, pictures, [np.eye(64, dtype=np.uint8)] * 10)).window is None
