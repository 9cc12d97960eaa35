"""Masks that don't lie on their pictures are found by their edges."""

import cv2
import numpy as np
import pytest

from segkit.checking.alignment import TURNINGS, Agreement, agreement, judge, shift_in_words


def scene(seed, size=(96, 96)):
    """A picture of bright blobs in noise, and their mask."""
    rng = np.random.default_rng(seed)
    blobs = cv2.resize(rng.normal(size=(7, 7)).astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
    mask = (blobs > 0.3).astype(np.uint8)
    return 60.0 * mask + rng.normal(0, 6, size).astype(np.float32), mask


def judged(change, *, only=None, count=12):
    found = {}
    for seed in range(count):
        picture, mask = scene(seed)
        changed = change(mask) if only is None or seed == only else mask
        one = agreement(picture.astype(np.float32), np.ascontiguousarray(changed))
        assert one is not None
        found[f"p{seed}"] = one
    return judge(found)


INVERSE = {"turned by 90°": "turned by 270°", "turned by 270°": "turned by 90°"}


def test_masks_that_lie_right_give_no_word():
    told = judged(lambda mask: mask)
    assert (told.turning, told.shift, told.misfits) == (None, None, {})


@pytest.mark.parametrize("name", TURNINGS)
def test_what_was_done_to_all_masks_is_undone_by_what_is_told(name):
    told = judged(TURNINGS[name])
    assert told.turning == INVERSE.get(name, name)
    assert told.votes == (12, 12)
    mask = scene(0)[1]
    assert np.array_equal(TURNINGS[told.turning](TURNINGS[name](mask)), mask)


@pytest.mark.parametrize("shift", [(0, 4), (-6, 3), (9, -9)])
def test_a_shift_of_all_masks_is_told_with_its_opposite(shift):
    told = judged(lambda mask: np.roll(mask, shift, (0, 1)))
    assert (told.turning, told.shift) == (None, (-shift[0], -shift[1]))


def test_shifts_in_words():
    assert shift_in_words((-6, 4)) == "moved by 6 up and 4 to the right"
    assert shift_in_words((3, 0)) == "moved by 3 down"
    assert shift_in_words((0, -1)) == "moved by 1 to the left"


def test_one_mask_that_is_turned_is_named():
    told = judged(TURNINGS["transposed"], only=5)
    assert (told.turning, told.shift, dict(told.misfits)) == (None, None, {"p5": "transposed"})


def test_one_mask_of_another_picture_is_named():
    told = judged(lambda _: scene(99)[1], only=3)
    assert dict(told.misfits) == {"p3": None}


def test_a_mask_of_the_size_turned_says_which_turning_fits():
    picture, mask = scene(1, (64, 96))
    for name in ("transposed", "turned by 90°"):
        one = agreement(picture.astype(np.float32), np.ascontiguousarray(TURNINGS[name](mask)))
        assert one is not None
        assert np.isnan(one.as_is)
        assert one.best_turning == INVERSE.get(name, name)


def test_shifts_are_in_the_pictures_own_pixels():
    picture, mask = scene(2, (96, 1024))
    one = agreement(picture.astype(np.float32), np.roll(mask, (0, 12), (0, 1)))
    assert one is not None
    assert one.step == 2
    assert one.shift == pytest.approx((0, -12), abs=1)


def test_too_little_to_go_by():
    picture, mask = scene(0)
    empty = np.zeros_like(mask)
    assert agreement(picture.astype(np.float32), empty) is None
    assert agreement(np.zeros_like(picture, dtype=np.float32), mask) is None
    assert agreement(picture.astype(np.float32), mask, counts=empty.astype(bool)) is None
    lying = Agreement(0.0, {"transposed": 2.0}, (0, 0), 0.0, 1.0)
    assert judge({"a": lying, "b": lying}).turning is None
    assert judge({"a": lying, "b": lying, "c": lying}).turning == "transposed"


def test_labels_may_be_layers_and_wide():
    picture, mask = scene(0)
    flat = agreement(picture.astype(np.float32), mask)
    assert agreement(picture.astype(np.float32), np.stack([mask, 0 * mask]).astype(np.uint16) * 700) == flat


@pytest.mark.parametrize("name", ["drive", "em_isbi2012", "dsb2018_nuclei"])
def test_real_masks_that_were_mirrored_are_told(shared, name):
    from segkit.checking.picture_facts import grey_of
    from segkit.data.folder import open_dataset
    from segkit.data.reader import read_pixels

    folder = open_dataset(shared / name)
    found = {}
    for sample in folder.samples("val"):
        mask = np.ascontiguousarray(folder.read_mask(sample, inside_roi=False)[:, ::-1])
        one = agreement(grey_of(read_pixels(sample.image)), mask)
        if one is not None:
            found[sample.name] = one
    assert judge(found).turning == "mirrored left to right"
