from itertools import pairwise

import numpy as np
import pytest
import tifffile
import torch
from torch.utils.data import DataLoader

from segkit.data import dataset as module
from segkit.data.batches import collate
from segkit.data.dataset import EvaluationDataset, SegmentationDataset
from segkit.data.epoch_sampler import EpochSampler
from segkit.data.folder import open_dataset
from segkit.data.reader import Reader, read_pixels
from segkit.errors import DataError

RNG = np.random.default_rng(0)
SPLITS = {"train": ["a", "b", "c"]}


@pytest.fixture
def folder(maker):
    masks = {name: RNG.integers(0, 2, (40, 50), dtype=np.uint8) for name in "abc"}
    return open_dataset(maker(masks, classes=["slide", "cell"], splits=SPLITS))


def crops(folder, **options):
    options = {"crop": 16, "crops_per_image": 2, "augment": "strong", "seed": 7, **options}
    return SegmentationDataset(folder, folder.samples("train"), Reader(), **options)


def equal(first, second):
    return all(torch.equal(first[key], second[key]) for key in ("image", "target")) and first["name"] == second["name"]


def test_an_item_holds_a_picture_its_target_and_its_name(folder):
    dataset = crops(folder)
    item = dataset[0, 3]
    assert len(dataset) == 6
    assert item["image"].shape == (3, 16, 16)
    assert item["image"].dtype == torch.float32
    assert 0 <= item["image"].min() <= item["image"].max() <= 1
    assert item["target"].shape == (16, 16)
    assert item["target"].dtype == torch.int64
    assert item["name"] == "b"


def test_a_crop_is_a_part_of_its_picture_with_the_same_part_of_the_mask(folder):
    sample = folder.samples("train")[0]
    whole = torch.from_numpy(read_pixels(sample.image)).permute(2, 0, 1) / 255
    mask = torch.from_numpy(folder.read_mask(sample)).long()
    item = crops(folder, augment="none")[0, 0]
    windows = [
        (y, x) for y in range(25) for x in range(35) if torch.equal(whole[:, y : y + 16, x : x + 16], item["image"])
    ]
    [(y, x)] = windows
    assert torch.equal(mask[y : y + 16, x : x + 16], item["target"])


def test_an_item_depends_on_seed_epoch_and_index_alone(folder):
    dataset = crops(folder)
    keys = [(epoch, index) for epoch in range(2) for index in range(6)]
    first = {key: dataset[key] for key in keys}
    again = crops(folder, cache=False)
    for key in reversed(keys):
        assert equal(again[key], first[key])
    for one, other in pairwise(keys):
        assert not torch.equal(first[one]["image"], first[other]["image"])
    assert not torch.equal(crops(folder, seed=8)[0, 0]["image"], first[0, 0]["image"])


def test_workers_change_nothing(folder):
    dataset = crops(folder)
    sampler = EpochSampler(len(dataset), seed=1)
    sampler.set_epoch(3)
    loaders = [
        DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers, collate_fn=collate)
        for workers in (0, 2)
    ]
    for alone, together in zip(*loaders, strict=True):
        assert torch.equal(alone["image"], together["image"])
        assert torch.equal(alone["target"], together["target"])
        assert alone["name"] == together["name"]


def test_uniform_crops_reach_every_origin_and_so_every_border(folder):
    dataset = crops(folder, crop=(38, 48), augment="none", cache=True)
    mask = np.zeros((40, 50), np.uint8)
    origins = [dataset._origin(mask, np.random.default_rng(i)) for i in range(900)]
    counts = np.zeros((3, 3), int)
    for y, x in origins:
        counts[y, x] += 1
    assert counts.sum() == 900
    assert counts.min() > 70  # 100 each, ± 3 σ


def test_surroundings_given_to_an_affine_transform_leave_the_crop_whole(folder):
    still = crops(folder, augment=[{"Affine": {"p": 0}}], crop=16)
    plain = crops(folder, augment="none", crop=16)
    for index in range(6):
        assert equal(still[0, index], plain[0, index])


def test_a_smaller_picture_is_mirrored_and_ignored_outside(folder):
    item = crops(folder, crop=(64, 20), augment="none")[0, 0]
    rows = (item["target"] != 255).all(dim=1)
    assert rows.sum() == 40
    top = int(rows.nonzero()[0])
    if top:
        assert torch.equal(item["image"][:, top - 1], item["image"][:, top + 1])
    if top < 24:
        bottom = top + 40
        assert torch.equal(item["image"][:, bottom], item["image"][:, bottom - 2])


def test_foreground_crops_hold_each_class_equally_often(maker):
    mask = np.zeros((200, 200), np.uint8)
    mask[5, 5] = 1
    mask[150:190, 150:190] = 2
    folder = open_dataset(maker({"a": mask}, classes=["background", "rare", "common"], splits={"train": ["a"]}))
    dataset = crops(folder, foreground=1.0, crop=32, crops_per_image=60, augment="none")
    held = [set(dataset[0, index]["target"].unique().tolist()) for index in range(60)]
    assert all({1, 2} & classes for classes in held)
    assert 18 <= sum(1 in classes for classes in held) <= 42  # 30 ± 3 σ


def test_half_the_crops_are_centred_on_foreground_where_half_is_asked(maker):
    mask = np.zeros((400, 400), np.uint8)
    mask[200, 200] = 1
    folder = open_dataset(maker({"a": mask}, classes=["background", "dot"], splits={"train": ["a"]}))
    dataset = crops(folder, foreground=0.5, crop=16, crops_per_image=100, augment="none")
    assert 35 <= sum(bool((dataset[0, index]["target"] == 1).any()) for index in range(100)) <= 65


def test_multilabel_targets_are_float_maps(maker):
    mask = RNG.integers(0, 2, (40, 50), dtype=np.uint8)
    path = maker({"a": mask}, task="multilabel", classes=["x", "y"], splits={"train": ["a"]})
    maker.write("masks/a/x.png", mask)
    maker.write("masks/a/y.png", 1 - mask)
    folder = open_dataset(path)
    item = crops(folder, augment="medium", foreground=0.5)[0, 0]
    assert item["target"].shape == (2, 16, 16)
    assert item["target"].dtype == torch.float32
    inside = (item["target"] != 255).all(dim=0)
    assert (item["target"].sum(dim=0)[inside] == 1).all()
    whole = EvaluationDataset(folder, folder.samples("train"), Reader())[0]
    assert torch.equal(whole["target"], torch.from_numpy(np.stack([mask, 1 - mask])).float())


def test_sixteen_bit_and_windowed_pictures_are_scaled_before_augmentation(maker):
    path = maker({"a": np.eye(40, dtype=np.uint8)}, classes=["x", "y"], splits={"train": ["a"]})
    (path / "images/a.png").unlink()
    pixels = RNG.integers(0, 65536, (40, 40), dtype=np.uint16)
    tifffile.imwrite(path / "images/a.tif", pixels)
    folder = open_dataset(path)
    samples = folder.samples("train")
    for reader, low, high in ((Reader(channels=1), 0, 65535), (Reader(channels=1, window=(1000, 60000)), 1000, 60000)):
        expected = np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1)
        item = SegmentationDataset(folder, samples, reader, crop=None)[0, 0]
        assert torch.allclose(item["image"][0].double(), torch.from_numpy(expected), atol=1e-6)
    strong = SegmentationDataset(folder, samples, Reader(), crop=16, augment="strong")[0, 0]["image"]
    assert 0 <= strong.min() <= strong.max() <= 1


@pytest.mark.parametrize("window", ["picture", (20, 90)])
def test_windowed_bytes_stay_bytes_and_agree_with_the_reader(folder, window):
    reader = Reader(window=window)
    dataset = SegmentationDataset(folder, folder.samples("train"), reader, crop=None)
    for i, sample in enumerate(folder.samples("train")):
        expected = torch.from_numpy(reader.read(sample.image)).permute(2, 0, 1)
        torch.testing.assert_close(dataset[0, i]["image"], expected, atol=0.5 / 255 + 1e-6, rtol=0)
    assert dataset._cache[0][0].dtype == np.uint8


def test_the_cache_is_for_what_fits(folder, monkeypatch):
    assert len(crops(folder)._cache) == 3
    assert crops(folder, cache=False)._cache is None
    monkeypatch.setattr(module, "CACHE_BYTES", 3 * 40 * 50 * 4 - 1)  # three pictures of four bytes a pixel
    assert crops(folder)._cache is None


def test_the_cache_gives_up_where_later_pictures_are_larger_than_the_first(maker, monkeypatch):
    masks = {"a": np.eye(4), "b": np.eye(40), "c": np.eye(40)}
    folder = open_dataset(maker(masks, classes=["x", "y"], splits=SPLITS))
    taken = 4 * (4 * 4 + 2 * 40 * 40)  # four bytes a pixel
    monkeypatch.setattr(module, "CACHE_BYTES", taken)
    assert [mask.shape for _, mask in crops(folder)._cache] == [(4, 4), (40, 40), (40, 40)]
    monkeypatch.setattr(module, "CACHE_BYTES", taken - 1)
    assert crops(folder)._cache is None


def test_evaluation_reads_whole_pictures_in_order(folder):
    samples = folder.samples("train")
    dataset = EvaluationDataset(folder, samples, Reader())
    assert [item["name"] for item in (dataset[i] for i in range(len(dataset)))] == ["a", "b", "c"]
    assert np.array_equal(dataset[1]["image"].permute(1, 2, 0), Reader().read(samples[1].image))
    assert np.array_equal(dataset[1]["target"], folder.read_mask(samples[1]))
    assert dataset[1]["target"].dtype == torch.int64


def test_faults_in_files_are_found_when_the_dataset_is_made(maker):
    path = maker({"a": [[0, 1]], "b": [[0, 1]]}, classes=["x", "y"], splits={"train": ["a", "b"]})
    maker.write("masks/b.png", [[0, 7]])
    folder = open_dataset(path)
    with pytest.raises(DataError, match=r"b\.png: mask has values \{0, 7\}"):
        crops(folder)


def test_pictures_the_model_cannot_take_are_named(folder):
    with pytest.raises(DataError, match=r"a\.png: the picture has 3 channels; the model takes 5"):
        SegmentationDataset(folder, folder.samples("train"), Reader(channels=5), crop=16)


def test_a_batch_stacks_items_and_leaves_absent_parts_none(folder):
    dataset = crops(folder)
    batch = collate([dataset[0, 0], dataset[0, 2]])
    assert batch["image"].shape == (2, 3, 16, 16)
    assert batch["target"].shape == (2, 16, 16)
    assert (batch["depth"], batch["weight"], batch["name"]) == (None, None, ["a", "b"])


def test_whole_pictures_of_different_sizes_do_not_batch(maker):
    path = maker({"a": np.eye(8), "b": np.eye(9)}, classes=["x", "y"], splits={"train": ["a", "b"]})
    dataset = crops(open_dataset(path), crop=None, crops_per_image=1, augment="none")
    with pytest.raises(DataError, match=r"different sizes \(8×8, 9×9\) in one batch; set data\.crop"):
        collate([dataset[0, 0], dataset[0, 1]])


def test_whole_pictures_brought_to_one_size_batch_with_every_ready_made_augmentation(maker):
    path = maker({"a": np.eye(8), "b": np.eye(9)}, classes=["x", "y"], splits={"train": ["a", "b"]})
    folder = open_dataset(path)
    for augment in ("medium", "strong"):
        options = {"crop": None, "size": (6, 8), "augment": augment}
        dataset = SegmentationDataset(folder, folder.samples("train"), Reader(), **options)
        batch = collate([dataset[epoch, index] for epoch in range(6) for index in range(2)])
        assert batch["image"].shape == (12, 3, 6, 8)


def test_an_epoch_is_a_permutation_that_follows_from_seed_and_epoch():
    sampler = EpochSampler(10, seed=3)
    first = list(sampler)
    assert sorted(first) == [(0, index) for index in range(10)]
    assert first == list(EpochSampler(10, seed=3))
    sampler.set_epoch(1)
    second = list(sampler)
    assert {epoch for epoch, _ in second} == {1}
    assert [index for _, index in second] != [index for _, index in first]
    assert len(sampler) == len(second)


def test_real_pictures_give_crops(shared):
    folder = open_dataset(shared / "drive")
    samples = folder.samples("train")[:2]
    dataset = SegmentationDataset(folder, samples, Reader(), crop=256, foreground=0.5, augment="medium")
    item = dataset[0, 1]
    assert item["image"].shape == (3, 256, 256)
    assert set(item["target"].unique().tolist()) <= {0, 1, 255}
