"""Batches of pictures and their depth: what belongs together, and what must not tell."""

import multiprocessing
import shutil

import cv2
import numpy as np
import pytest
import torch
import yaml

from segkit.contrasting.colour_depth_recipe import ColourDepthRecipe
from segkit.contrasting.pairs import PairBatches, pair_samples
from segkit.data.folder import open_dataset
from segkit.data.reader import Reader
from segkit.errors import DataError, RecipeError, UsageError

SIZE, SHIFT = (24, 32), 8
HEIGHT, WIDTH = SIZE[0] + SHIFT, SIZE[1] + SHIFT
NAMES = [f"p{number}" for number in range(7)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures that hold their pixels' coordinates in red and green, and a number of their own in blue; depth too."""
    path = tmp_path_factory.mktemp("pairs")
    for kind in ("images", "masks", "depth"):
        (path / kind).mkdir()
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for number, name in enumerate([*NAMES, "alone", "spare"]):
        blue = np.full_like(rows, 20 * number)
        cv2.imwrite(str(path / "images" / f"{name}.png"), np.stack([blue, columns, rows], axis=2).astype(np.uint8))
        cv2.imwrite(str(path / "masks" / f"{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
        if name != "alone":
            values = (1 + rows * 100 + columns + 10_000 * number).astype(np.uint16)
            values[10:20, 5:12] = 0
            values[3:5, 30:] = 0
            cv2.imwrite(str(path / "depth" / f"{name}.png"), values)
    said = {"classes": ["background", "thing"], "depth_unit": "relative"}
    splits = {"train": [*NAMES, "alone"], "few": ["alone", "spare"], "val": NAMES[:2]}
    (path / "dataset.yaml").write_text(yaml.safe_dump({**said, "splits": splits}))
    return open_dataset(path)


def batches(folder, *, batch=3, seed=5, size=SIZE, workers=0, cache=True, **options):
    options = {"shift": SHIFT, "augment": [], "flip": ["left_right", "up_down"], "points": 12, **options}
    reader = Reader(depth=folder.depth_format, depth_channels=1)
    samples = pair_samples(folder, ["train"])
    of = ColourDepthRecipe(**options)
    return PairBatches(
        folder, samples, reader, size=size, options=of, batch=batch, seed=seed, workers=workers, cache=cache
    )


def said_by_image(image, place):
    """Number, row and column that a picture's pixels say."""
    bytes_ = (image * 255).round().long()
    return torch.stack([bytes_[place[:, 0], k, place[:, 1], place[:, 2]] for k in (2, 0, 1)], dim=1)


def said_by_depth(depth, place):
    values = depth[place[:, 0], 0, place[:, 1], place[:, 2]].long() - 1
    return torch.stack([values // 10_000 * 20, values % 10_000 // 100, values % 100], dim=1)


def test_places_of_a_pair_are_the_same_place_after_all_that_was_done(folder):
    pairs = batches(folder)
    offsets, mirrored = set(), set()
    for epoch in range(6):
        pairs.set_epoch(epoch)
        for batch in pairs:
            assert batch["image"].shape == (3, 3, *SIZE)
            assert batch["depth"].shape == (3, 2, *SIZE)
            place = batch["place"]
            own = place + torch.tensor([0, *batch["offset"]])
            assert torch.equal(said_by_image(batch["image"], own), said_by_depth(batch["depth"], place))
            offsets.add(batch["offset"])
            columns = (batch["image"][:, 1, 0] * 255).round()
            ways = (columns[:, -1] < columns[:, 0]).tolist()
            assert len(set(ways)) == 1  # none of a batch is told from the others by how it is mirrored
            mirrored |= set(ways)
    assert len(offsets) > 8
    assert max(abs(step) for pair in offsets for step in pair) <= SHIFT
    assert mirrored == {True, False}


def test_holes_are_never_chosen_whether_measured_or_made(folder):
    for holes in (0.0, 0.6):
        pairs = batches(folder, holes=holes, points=10_000)
        missing = []
        for epoch in range(4):
            pairs.set_epoch(epoch)
            for batch in pairs:
                valid = batch["depth"][:, -1] > 0.5
                place = batch["place"]
                assert valid[place[:, 0], place[:, 1], place[:, 2]].all()
                assert (batch["depth"][:, 0][~valid] == 0).all()
                missing += (~valid).flatten(1).float().mean(1).tolist()
        measured = 70 + 20  # pixels of a picture without depth, of which a window shows some
        assert (max(missing) <= measured / np.prod(SIZE)) == (holes == 0)
        assert max(missing) <= measured / np.prod(SIZE) + holes


def test_a_batch_has_one_frame_for_its_pictures_and_another_one_for_their_depth(folder):
    pairs = batches(folder, flip=[], holes=0)
    corners = []
    for epoch in range(30):
        pairs.set_epoch(epoch)
        for batch in pairs:
            rows = set((batch["image"][:, 0, 0, 0] * 255).round().tolist())
            values = batch["depth"][:, 0, 0, 0].long() - 1
            own = set((values % 10_000 // 100).tolist())
            assert len(rows) == len(own) == 1
            corners.append((rows.pop(), own.pop()))
            assert corners[-1][0] == corners[-1][1] - batch["offset"][0]
    assert abs(np.corrcoef(np.array(corners).T)[0, 1]) < 0.4


def test_an_epoch_is_its_seed_and_number_alone(folder):
    first, second = batches(folder), batches(folder)
    first.set_epoch(3)
    before = list(first)
    for epoch in (0, 3):
        second.set_epoch(epoch)
        found = list(second)
    assert [batch["name"] for batch in before] == [batch["name"] for batch in found]
    for one, other in zip(before, found, strict=True):
        for name in ("image", "depth", "place", "measured"):
            assert torch.equal(one[name], other[name])
    names = [name for batch in before for name in batch["name"]]
    assert len(before) == len(first) == 2
    assert len(set(names)) == 6
    other = batches(folder, seed=6)
    other.set_epoch(3)
    assert [batch["name"] for batch in other] != [batch["name"] for batch in before]


def test_colours_change_and_depth_does_not(folder):
    plain, jittered = batches(folder, shift=0, flip=[]), batches(folder, shift=0, flip=[], augment=None)
    one, other = next(iter(plain)), next(iter(jittered))
    assert one["name"] == other["name"]
    assert torch.equal(one["depth"], other["depth"])
    assert (one["image"] - other["image"]).abs().mean() > 0.02


def test_geometry_of_the_recipe_is_the_same_for_both(folder):
    pairs = batches(folder, augment=[{"Affine": {"rotate": [-20, 20], "interpolation": 0, "p": 1}}], holes=0)
    for batch in pairs:
        place = batch["place"]
        own = place + torch.tensor([0, *batch["offset"]])
        there, here = said_by_image(batch["image"], own), said_by_depth(batch["depth"], place)
        assert (there - here).abs().max() <= 1  # to the nearest pixel
        assert len(place) > 20


def test_pictures_without_depth_are_left_out_and_masks_are_not_read(folder):
    samples = pair_samples(folder, ["train", "val"])
    assert [sample.name for sample in samples] == NAMES
    assert all(sample.mask is None for sample in samples)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named_in_one_line_and_no_process_is_left(folder, tmp_path, workers):
    copied = shutil.copytree(folder.path, tmp_path / "copy")
    (copied / "images" / "p3.png").write_bytes(b"no picture")
    pairs = batches(open_dataset(copied), batch=7, workers=workers, cache=False)
    with pytest.raises(DataError, match=r"p3\.png") as error:
        list(pairs)
    assert "\n" not in str(error.value)
    assert not multiprocessing.active_children()


def test_no_process_is_left_of_an_epoch_that_was_seen_or_broken_off(folder):
    pairs = batches(folder, workers=1)
    assert len(list(pairs)) == 2
    assert not multiprocessing.active_children()
    begun = iter(pairs)
    next(begun)
    assert multiprocessing.active_children()
    begun.close()
    assert not multiprocessing.active_children()


def test_what_cannot_be_used_is_named(folder):
    with pytest.raises(UsageError, match="no split 'vall'; did you mean 'val'"):
        pair_samples(folder, ["vall"])
    with pytest.raises(DataError, match="1 pictures of few have a file in depth/"):
        pair_samples(folder, ["few"])
    with pytest.raises(RecipeError, match=r"colour_depth\.augment\[0\]\.Jitter: no such transform"):
        batches(folder, augment=[{"Jitter": None}])
    with pytest.raises(RecipeError, match=r"leave it to data\.size"):
        next(iter(batches(folder, augment=[{"RandomCrop": {"height": 20, "width": 20}}])))
    with pytest.raises(DataError, match="pictures of different sizes"):
        next(iter(batches(folder, augment=[{"RandomScale": {"scale_limit": 0.5, "p": 1}}])))
    with pytest.raises(ValueError, match="image and dense are both 0"):
        ColourDepthRecipe(image=0, dense=0)
