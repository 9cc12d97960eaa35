import itertools

import numpy as np
import pytest
import torch

from segkit.data.resize import resized
from segkit.errors import DataError, UsageError
from segkit.labelled import held
from segkit.labelled.held import HeldImages
from segkit.labelled.opening import open_labelled
from segkit.labelled.view import View


@pytest.fixture
def images(pets):
    """Thirty images of 6 × 8; image i holds its number."""
    return open_labelled(pets)


def epoch(pets, **options):
    return list(pets.batches(**{"batch": 4, "seed": 0, "epoch": 0, "shuffle": True} | options))


@pytest.mark.parametrize("cache", [True, False])
def test_batches_have_images_and_what_is_known_of_them(images, cache):
    chosen = [5, 22, 0]
    pets = HeldImages(images, chosen, channels=1, size=(6, 8), cache=cache)
    assert (len(pets), pets.names, pets.held) == (3, ["cat/05", "dog/02", "cat/00"], cache)
    assert pets.labels.tolist() == [0, 1, 0]
    first, second = pets.batches(2, shuffle=False)
    assert first["image"].dtype == torch.uint8
    assert first["image"].shape == (2, 1, 6, 8)
    assert first["image"][:, 0, 0, 0].tolist() == [5, 2]
    assert (first["target"].dtype, first["target"].tolist()) == (torch.int64, [0, 1])
    assert (first["name"], first["index"].tolist()) == (["cat/05", "dog/02"], [5, 22])
    assert first["extent"].tolist() == [[6, 8], [6, 8]]
    assert (second["name"], second["image"].shape) == (["cat/00"], (1, 1, 6, 8))


def test_the_order_depends_on_seed_and_epoch_alone(images):
    pets = HeldImages(images, range(30), channels=3, size=(6, 8))

    def order(**options):
        return [name for batch in epoch(pets, **options) for name in batch["name"]]

    assert order() == order() == order(batch=7)
    assert sorted(order()) == sorted(pets.names)
    orders = [order(), order(epoch=1), order(seed=1), order(shuffle=False)]
    assert all(a != b for a, b in itertools.combinations(orders, 2))
    assert orders[3] == pets.names


def test_a_smaller_last_batch_may_be_left_out(images):
    pets = HeldImages(images, range(30), channels=3, size=(6, 8))
    assert [len(batch["name"]) for batch in epoch(pets, batch=8)] == [8, 8, 8, 6]
    assert len(pets.batches(8, shuffle=False, drop_last=True)) == 3
    assert [len(batch["name"]) for batch in epoch(pets, batch=31, drop_last=True)] == [30]


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_are_not_held_make_the_same_batches(images, workers):
    given = {"channels": 3, "size": View(size=(4, 4))}
    kept, read = HeldImages(images, range(30), **given), HeldImages(images, range(30), **given, cache=False)
    pairs = list(zip(epoch(kept, batch=16), epoch(read, batch=16, workers=workers), strict=True))
    assert len(pairs) == 2
    for ours, theirs in pairs:
        assert ours["name"] == theirs["name"]
        assert all(torch.equal(ours[key], theirs[key]) for key in ("image", "extent", "target", "index"))


def test_images_are_not_held_where_they_take_too_much(images, monkeypatch):
    monkeypatch.setattr(held, "CACHE_BYTES", 30 * 6 * 8 * 3 - 1)
    assert not HeldImages(images, range(30), channels=3, size=(6, 8)).held
    assert HeldImages(images, range(30), channels=1, size=(6, 8)).held


def test_images_larger_than_those_looked_at_first_are_found_to_take_too_much(pets, draw, monkeypatch):
    draw(pets / "cat" / "large.png", 0, (60, 80))
    images = open_labelled(pets)
    chosen = [0] * 40
    chosen[35] = images.names.index("cat/large")  # of 40 every second is looked at
    monkeypatch.setattr(held, "CACHE_BYTES", 40 * 6 * 8 * 3)
    assert HeldImages(images, [0] * 40, channels=3, size=(60, 80)).held
    assert not HeldImages(images, chosen, channels=3, size=(60, 80)).held


@pytest.mark.parametrize("cache", [True, False])
def test_sizes_that_differ_are_padded_at_the_right_and_bottom(tmp_path, draw, cache):
    sizes = {"a/1": (4, 9), "a/2": (7, 3), "b/1": (2, 2)}
    for name, size in sizes.items():
        draw(tmp_path / f"{name}.png", 200, size)
    pets = HeldImages(open_labelled(tmp_path), range(3), channels=3, size=(9, 9), cache=cache)
    (batch,) = pets.batches(3, shuffle=False)
    assert batch["image"].shape == (3, 3, 7, 9)
    assert batch["extent"].tolist() == list(map(list, sizes.values()))
    for image, (height, width) in zip(batch["image"], sizes.values(), strict=True):
        assert (image[:, :height, :width] == 200).all()
        assert image.sum() == 3 * 200 * height * width


def test_images_are_held_no_larger_than_any_window_of_them_needs(tmp_path, draw):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    draw(tmp_path / "a" / "1.png", pixels)
    draw(tmp_path / "b" / "1.png", 0, (19, 90))
    pets = HeldImages(open_labelled(tmp_path), range(2), channels=3, size=(10, 10))
    (batch,) = pets.batches(2, shuffle=False)
    assert batch["extent"].tolist() == [[20, 45], [19, 90]]
    assert torch.equal(batch["image"][0, :, :20, :45].permute(1, 2, 0), torch.from_numpy(resized(pixels, (20, 45))))


def test_a_view_holds_what_it_sees(tmp_path, draw):
    view = View(size=(10, 12), share=0.8)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    draw(tmp_path / "a" / "1.png", pixels)
    draw(tmp_path / "b" / "1.png", 0, (19, 90))
    (batch,) = HeldImages(open_labelled(tmp_path), range(2), channels=3, size=view).batches(2, shuffle=False)
    assert torch.equal(batch["image"][0].float() / 255, view(pixels))
    assert batch["extent"].tolist() == [[10, 12], [10, 12]]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named_in_one_line(images, pets, workers):
    (pets / "cat" / "03.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(DataError, match=r"^[^\n]*03\.png: the file is cut short[^\n]*$"):
        HeldImages(images, range(30), channels=3, size=(6, 8))
    read = HeldImages(images, range(30), channels=3, size=(6, 8), cache=False)
    with pytest.raises(DataError, match=r"^[^\n]*03\.png: the file is cut short[^\n]*$"):
        epoch(read, workers=workers)


def test_indices_must_be_there(images):
    with pytest.raises(UsageError, match="no indices: which images are to be held"):
        HeldImages(images, [], channels=3, size=(6, 8))
    with pytest.raises(UsageError, match="indices run from 3 to 30 of 30 images"):
        HeldImages(images, [3, 30], channels=3, size=(6, 8))
