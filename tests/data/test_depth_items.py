"""Depth in the items of a training and an evaluation."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from segkit.data import dataset as module
from segkit.data.batches import collate
from segkit.data.dataset import EvaluationDataset, SegmentationDataset
from segkit.data.depth import resized_depth
from segkit.data.epoch_sampler import EpochSampler
from segkit.data.folder import open_dataset
from segkit.data.reader import Reader
from segkit.errors import DataError

RNG = np.random.default_rng(0)
CLASSES = [f"class {number}" for number in range(9)]
SPLITS = {"train": ["a", "b", "c"]}
MOVES = [
    "none",
    "light",
    "medium",
    "strong",
    [{"Perspective": {"scale": [0.1, 0.2], "p": 1}}],
    [{"ElasticTransform": {"alpha": 60, "sigma": 8, "p": 1}}, {"VerticalFlip": {"p": 0.5}}],
    [{"GridDistortion": {"p": 1}}],
    [{"Affine": {"scale": [0.5, 2], "border_mode": 4, "p": 1}}],
    [{"RandomResizedCrop": {"size": [16, 16], "p": 1}}],
    [{"CoarseDropout": {"fill_mask": 3, "p": 1}}, {"Transpose": {"p": 0.5}}],
    [{"Rotate": {"p": 1}}, {"RandomScale": {"scale_limit": [0.2, 0.4], "p": 1}}, {"GaussNoise": {"p": 1}}],
]


def dataset_of(maker, *, unit="relative", size=(40, 50), depth=None, without=()):
    """Pictures of random ids whose depth is their id and one."""
    masks = {name: RNG.integers(0, 9, size, dtype=np.uint8) for name in "abc"}
    path = maker(masks, classes=CLASSES, splits=SPLITS, depth_unit=unit)
    (path / "depth").mkdir()
    for name, mask in masks.items():
        if name not in without:
            values = mask.astype(np.uint16) + 1 if depth is None else depth
            cv2.imwrite(str(path / "depth" / f"{name}.png"), values)
    return open_dataset(path)


@pytest.fixture
def folder(maker):
    return dataset_of(maker)


@pytest.fixture(scope="module")
def flat(maker_at, tmp_path_factory):
    """Pictures two metres away, with a hole."""
    depth = np.full((40, 50), 2000, np.uint16)
    depth[18:22, 20:30] = 0
    return dataset_of(maker_at(tmp_path_factory.mktemp("flat")), unit="mm", depth=depth)


@pytest.fixture(scope="module")
def large(maker_at, tmp_path_factory):
    """The same at twice the size."""
    depth = np.full((80, 100), 2000, np.uint16)
    depth[36:44, 40:60] = 0
    return dataset_of(maker_at(tmp_path_factory.mktemp("large")), unit="mm", size=depth.shape, depth=depth)


def items(folder, **options):
    options = {"crop": 16, "crops_per_image": 2, "augment": "strong", "seed": 7, "depth": True, **options}
    return SegmentationDataset(folder, folder.samples("train"), Reader(), **options)


@pytest.mark.parametrize("crop", [16, (48, 60), None])
@pytest.mark.parametrize("augment", MOVES, ids=str)
def test_depth_moves_exactly_as_the_mask_and_is_not_measured_outside(folder, augment, crop):
    dataset = items(folder, augment=augment, crop=crop)
    for epoch in range(4):
        item = dataset[epoch, epoch]
        values, measured = item["depth"]
        assert item["depth"].dtype == torch.float32
        inside = item["target"] != 255
        if "CoarseDropout" in str(augment):
            inside &= measured > 0
        else:
            assert torch.equal(measured, inside.float())
        assert torch.equal(values[inside], (item["target"][inside] + 1).float())
        assert not values[measured == 0].any()


@pytest.mark.parametrize("augment", MOVES, ids=str)
def test_pictures_and_masks_are_the_same_with_depth_and_without(folder, augment):
    plain = items(folder, augment=augment, depth=False)
    for dataset in (items(folder, augment=augment), items(folder, augment=augment, depth_dropout=0.5)):
        for index in range(6):
            one, other = plain[1, index], dataset[1, index]
            assert "depth" not in one
            assert torch.equal(one["image"], other["image"])
            assert torch.equal(one["target"], other["target"])


@settings(deadline=None, max_examples=20)
@given(st.floats(0.5, 2), st.floats(0.5, 2), st.integers(-180, 180), st.booleans())
@example(1.9375, 1.9375, 0, False)  # nearest neighbours show nearly every pixel just twice
def test_where_the_picture_is_zoomed_by_s_metres_are_divided_by_s(large, across, down, angle, flip):
    affine = {"scale": {"x": [across, across], "y": [down, down]}, "rotate": [angle, angle], "p": 1}
    augment = [{"Affine": affine}, {"HorizontalFlip": {"p": 1.0 if flip else 0.0}}]
    values, measured = items(large, augment=augment, crop=64)[0, 0]["depth"]
    seen = values[measured > 0]
    assert len(seen) > 100
    assert (seen == seen[0]).all()
    assert float(seen[0]) == pytest.approx(2 / (across * down) ** 0.5, rel=1.5e-2)


@pytest.mark.parametrize(
    "augment",
    [
        "none",
        [{"HorizontalFlip": {"p": 1}}, {"RandomRotate90": {"p": 1}}],
        [{"RandomCrop": {"height": 20, "width": 9}}],
    ],
)
def test_what_does_not_zoom_changes_no_metre(flat, augment):
    for index in range(6):
        values, measured = items(flat, augment=augment)[0, index]["depth"]
        assert set(values[measured > 0].tolist()) == {2.0}


def test_values_in_no_unit_are_never_divided(maker):
    folder = dataset_of(maker, depth=np.full((40, 50), 9, np.uint16))
    values, measured = items(folder, augment=[{"Affine": {"scale": [2, 2], "p": 1}}])[0, 0]["depth"]
    assert set(values[measured > 0].tolist()) == {9.0}


def test_depth_depends_on_seed_epoch_and_index_alone(folder):
    dataset, again = items(folder, depth_dropout=0.5), items(folder, depth_dropout=0.5, cache=False)
    keys = [(epoch, index) for epoch in range(3) for index in range(6)]
    first = {key: dataset[key]["depth"] for key in keys}
    for key in reversed(keys):
        assert torch.equal(again[key]["depth"], first[key])
    sampler = EpochSampler(len(dataset), seed=1)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=1, collate_fn=collate)
    for batch, pair in zip(loader, zip(*[iter(sampler)] * 2, strict=True), strict=True):
        assert torch.equal(batch["depth"], torch.stack([first[key] for key in pair]))


def test_so_many_items_lose_their_depth(folder):
    dataset = items(folder, crops_per_image=100, depth_dropout=0.3)
    absent = sum(not dataset[0, index]["depth"].any() for index in range(300))
    assert 66 <= absent <= 114  # 90 ± 3 σ
    assert all(items(folder)[0, index]["depth"].any() for index in range(6))
    assert not any(items(folder, depth_dropout=1.0)[0, index]["depth"].any() for index in range(6))


def test_a_picture_without_depth_has_zeros(maker):
    folder = dataset_of(maker, without="b")
    dataset = items(folder, crops_per_image=1)
    assert [bool(dataset[0, index]["depth"].any()) for index in range(3)] == [True, False, True]
    assert dataset[0, 1]["depth"].shape == (2, 16, 16)
    whole = EvaluationDataset(folder, folder.samples("train"), Reader(), depth=True)
    assert whole[1]["depth"].shape == (2, 40, 50)
    assert not whole[1]["depth"].any()


def test_whole_pictures_are_resized_with_their_depth(flat):
    item = items(flat, crop=None, size=(20, 25), augment="none")[0, 0]
    expected = resized_depth(flat.read_depth(flat.samples("train")[0], (40, 50)), (20, 25), metric=True)
    assert torch.equal(item["depth"], torch.from_numpy(expected).permute(2, 0, 1))
    values, measured = item["depth"]
    assert set(values[measured > 0].tolist()) == {4.0}
    assert (measured == 0).sum() == 10


def test_whole_pictures_are_evaluated_with_theirs(folder):
    samples = folder.samples("train")
    dataset = EvaluationDataset(folder, samples, Reader(), depth=True)
    for sample, item in zip(samples, (dataset[index] for index in range(3)), strict=True):
        assert torch.equal(item["depth"], torch.from_numpy(folder.read_depth(sample, (40, 50))).permute(2, 0, 1))
    assert "depth" not in EvaluationDataset(folder, samples, Reader())[0]


def test_a_batch_stacks_depth(folder):
    dataset = items(folder)
    batch = collate([dataset[0, 0], dataset[0, 3]])
    assert batch["depth"].shape == (2, 2, 16, 16)
    assert torch.equal(batch["depth"][1], dataset[0, 3]["depth"])


def test_pictures_are_held_once_for_members_with_depth_and_without(folder, monkeypatch):
    decoded = {}
    plain, deep = items(folder, depth=False, decoded=decoded), items(folder, decoded=decoded)
    assert [len(parts) for parts in plain._cache] == [2] * 3
    assert [len(parts) for parts in deep._cache] == [3] * 3
    for one, other in zip(plain._cache, deep._cache, strict=True):
        assert one[0] is other[0]
        assert one[1] is other[1]
    again = items(folder, decoded=decoded)
    assert all(one[2] is other[2] for one, other in zip(deep._cache, again._cache, strict=True))
    taken = 3 * 40 * 50 * (3 + 1 + 8)
    monkeypatch.setattr(module, "CACHE_BYTES", taken)
    assert items(folder)._cache is not None
    monkeypatch.setattr(module, "CACHE_BYTES", taken - 1)
    assert items(folder)._cache is None


def test_what_lies_in_memory_is_not_changed(flat):
    dataset = items(flat, augment=[{"Affine": {"scale": [2, 2], "p": 1}}])
    before = [parts[2].copy() for parts in dataset._cache]
    for index in range(6):
        dataset[0, index]["depth"].zero_()
    assert all(np.array_equal(one, parts[2]) for one, parts in zip(before, dataset._cache, strict=True))


def test_a_dataset_without_augmentation_keeps_its_depth(folder):
    plain = items(folder, depth_dropout=1.0, crop=None, augment="none").without_augmentation()
    assert torch.equal(plain[0, 0]["depth"][0], (plain[0, 0]["target"] + 1).float())


def test_training_with_depth_that_no_picture_has_is_a_mistake(maker):
    folder = dataset_of(maker, without="bc")
    a, b, c = folder.samples("train")
    with pytest.raises(DataError, match="none of the 2 pictures asked for has a file in depth/"):
        SegmentationDataset(folder, [b, c], Reader(), crop=16, depth=True)
    assert len(SegmentationDataset(folder, [a, b], Reader(), crop=16, depth=True)) == 2


def test_without_a_unit_depth_cannot_be_asked_for(maker):
    folder = dataset_of(maker, unit=None)
    assert items(folder, depth=False)[0, 0]["target"].shape == (16, 16)
    for make in (items, lambda folder: EvaluationDataset(folder, folder.samples("train"), Reader(), depth=True)[0]):
        with pytest.raises(DataError, match=r"dataset\.yaml: nothing says what the values in depth/ mean"):
            make(folder)


@pytest.mark.parametrize("name", ["rgbd_tools", "rgbd_pothole"])
def test_real_pictures_give_crops_with_depth(shared, name):
    folder = open_dataset(shared / name)
    samples = folder.samples("train")[:2]
    dataset = SegmentationDataset(folder, samples, Reader(), crop=128, augment="medium", depth=True)
    item = dataset[0, 1]
    assert item["depth"].shape == (2, 128, 128)
    assert 0.3 < item["depth"][1].mean() <= 1
