import hashlib
import pickle

import numpy as np
import pytest
from torchvision import datasets

from segkit.errors import DataError
from segkit.labelled.opening import open_labelled

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
PLANES = PIXELS.transpose(0, 3, 1, 2).reshape(6, -1)


@pytest.fixture
def ten(tmp_path):
    """CIFAR-10 for C programs, with one image in each of its six files."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for number, name in enumerate(names):
        (folder / name).write_bytes(bytes([number]) + PLANES[number].tobytes())
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    return folder


def test_binary_batches_of_ten_classes(ten):
    images = open_labelled(ten.parent)
    assert (images.path, images.name, images.classes) == (ten, "cifar-10", tuple("abcdefghij"))
    assert images.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert images.names == [*(f"train/{number:05}" for number in range(5)), "test/00000"]
    assert images.splits["test"].tolist() == [5]
    assert all(np.array_equal(images.read(number), PIXELS[number]) for number in range(6))
    (note,) = (note for note in images.notes if "published" in note)
    assert note.startswith("other sizes than published: data_batch_1.bin has 1 images, not 10,000; data_batch_2.bin")


def test_binary_batches_of_a_hundred_classes_are_read_by_the_fine_label(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name, rows in (("train.bin", range(4)), ("test.bin", range(4, 6))):
        (folder / name).write_bytes(b"".join(bytes([7, 90 + row]) + PLANES[row].tobytes() for row in rows))
    (folder / "fine_label_names.txt").write_text("\n".join(map(str, range(100))))
    images = open_labelled(folder)
    assert images.name == "cifar-100"
    assert images.labels.tolist() == [90, 91, 92, 93, 94, 95]
    assert np.array_equal(images.read(5), PIXELS[5])


def test_a_link_of_the_folders_name_to_a_folder_of_another(ten):
    ten.rename(ten.parent / "c10")
    ten.symlink_to(ten.parent / "c10")
    for path in (ten, ten.parent):
        assert open_labelled(path).labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_damaged_binary_batches_are_named(ten):
    (ten / "data_batch_3.bin").write_bytes(bytes(3000))
    with pytest.raises(DataError, match=r"data_batch_3\.bin: 3,000 bytes are not whole records of 3,073; unpack"):
        open_labelled(ten)
    (ten / "data_batch_3.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(DataError, match=r"data_batch_3\.bin: label 10 of 10 classes"):
        open_labelled(ten)
    (ten / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin: can't be read \(No such file or directory\); unpack"):
        open_labelled(ten)


def test_two_versions_in_one_folder_are_refused(ten):
    (ten.parent / "cifar-100-python").mkdir()
    with pytest.raises(DataError, match="holds cifar-100-python and cifar-10-batches-bin; name one of them"):
        open_labelled(ten.parent)


class Trap:
    """A pickle of it runs a program."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_pickled_batches_are_opened_only_if_their_sums_are_the_published_ones(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    sums = {}
    for name, content in {
        "train": {"data": PLANES[:4], "fine_labels": [3, 1, 0, 2]},
        "test": {"data": PLANES[4:], "fine_labels": [2, 2]},
        "meta": {"fine_label_names": ["k", "l", "m", "n"]},
    }.items():
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(datasets.CIFAR100, "meta", {**datasets.CIFAR100.meta, "md5": sums["meta"]})
    images = open_labelled(tmp_path)
    assert (images.name, images.classes) == ("cifar-100", ("k", "l", "m", "n"))
    assert images.labels.tolist() == [3, 1, 0, 2, 2, 2]
    assert all(np.array_equal(images.read(number), PIXELS[number]) for number in range(6))
    for name in ("test", "meta"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(DataError, match=f"cifar-100-python/{name}: its MD5 is not the published one; such files"):
            open_labelled(folder)
        (folder / name).unlink()
        with pytest.raises(DataError, match=f"cifar-100-python/{name}: the file is missing; such files"):
            open_labelled(folder)
        (folder / name).write_bytes(whole)
