import io

import cv2
import numpy as np
import pytest
from PIL import Image

from segkit.errors import DataError
from segkit.labelled import jpeg_archive
from segkit.labelled.opening import open_labelled

SHADES = (10, 90, 170, 250)


def members(shades=SHADES, labels=(0, 1, 0, 1), names=("cat/1.jpg", "dog/1.jpg", "cat/2.jpg", "dog/2.jpg"), prefix=""):
    files = [cv2.imencode(".jpg", np.full((8, 8, 3), shade, np.uint8))[1] for shade in shades]
    found = {
        "jpeg": np.concatenate(files),
        "offset": np.cumsum([0, *map(len, files)]),
        "label": np.array(labels, np.uint8),
        "name": np.array(names),
    }
    return {prefix + key: value for key, value in found.items()}


def save(path, **found):
    np.savez(path, **found)
    return path


def test_a_folder_of_archives_of_train_and_test(tmp_path):
    save(tmp_path / "pets_train_jpeg.npz", **members())
    save(tmp_path / "pets_test_jpeg.npz", **members((50, 60), (1, 0), ("dog/1.jpg", "cat/1.jpg")))
    save(tmp_path / "pets_subset_9_jpeg.npz", nothing=np.zeros(1))
    images = open_labelled(tmp_path)
    assert images.classes == ("cat", "dog")
    assert images.names[3:] == ["train/dog/2", "test/dog/1", "test/cat/1"]
    assert images.labels.tolist() == [0, 1, 0, 1, 1, 0]
    assert {split: len(found) for split, found in images.splits.items()} == {"train": 2, "val": 2, "test": 2}
    assert [int(images.read(number)[4, 4, 0]) for number in range(6)] == [10, 90, 170, 250, 50, 60]


def test_one_archive_of_both(tmp_path):
    both = members(prefix="train_") | members((50, 60), (1, 0), ("dog/1.jpg", "cat/1.jpg"), prefix="test_")
    images = open_labelled(save(tmp_path / "pets.npz", **both))
    assert images.name == "pets"
    assert images.splits["test"].tolist() == [4, 5]
    assert images.read(5)[0, 0].tolist() == [60, 60, 60]


def test_an_archive_alone_is_of_the_split_that_it_is_called_by(tmp_path):
    assert list(open_labelled(save(tmp_path / "pets_test_jpeg.npz", **members())).splits) == ["test"]
    assert list(open_labelled(save(tmp_path / "pets.npz", **members())).splits) == ["train", "val"]


def test_classes_without_names_are_known_or_numbered(tmp_path):
    found = members(labels=(0, 9, 0, 1))
    del found["name"]
    images = open_labelled(save(tmp_path / "cifar10_x.npz", **found))
    assert (images.classes[9], images.names[3]) == ("truck", "train/00003")
    numbered = open_labelled(save(tmp_path / "x.npz", **found))
    assert numbered.classes == tuple("0123456789")
    assert numbered.notes[0] == "no training image of 7 of 10 classes: '2', '3', '4', '5', '6', …"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"offset": None}, "no member 'offset'; an archive of JPEGs has jpeg"),
        ({"offset": np.arange(4)}, r"jpeg, offset and label don't fit: expected jpeg .*offset \[N \+ 1\]"),
        ({"offset": np.array([0, 9, 5, 7, 9])}, "offset must rise from 0 to the"),
        ({"label": np.array([0, 1, -1, 0])}, "label holds -1; labels are 0 or above"),
        ({"label": np.array(["a"] * 4)}, "don't fit"),
        ({"label": np.array([0, 1, 0, 50_000_000])}, "label holds 50,000,000; labels are ids of classes, below 65,536"),
        ({"name": np.array([b"a/1", b"b/1", b"a/2", b"b/2"])}, r"name is \|S3 \[4\]; expected text \(dtype U\) \[4\]"),
        ({"name": np.array([{}] * 4)}, r"can't be read as an archive of NumPy arrays \(name: .*allow_pickle=False"),
        ({"label": np.array([0, 1, 1, 1])}, "label 1 is 'dog', but 'cat' by the name cat/2.jpg"),
        ({"name": np.array(["cat/1", "dog/1", "cat/1", "dog/2"])}, "two images have one name"),
        ({"label": np.array([{}] * 4)}, "can't be read as an archive of NumPy arrays .*allow_pickle=False"),
    ],
)
def test_members_that_do_not_fit_are_refused(tmp_path, changed, message):
    found = {key: value for key, value in (members() | changed).items() if value is not None}
    with pytest.raises(DataError, match=message):
        open_labelled(save(tmp_path / "x.npz", **found))


def test_an_archive_of_nothing_and_one_that_is_none(tmp_path, monkeypatch):
    empty = {"jpeg": np.zeros(0, np.uint8), "offset": np.zeros(1, int), "label": np.zeros(0, int)}
    with pytest.raises(DataError, match=r"x\.npz: holds no images"):
        open_labelled(save(tmp_path / "x.npz", **empty))
    (tmp_path / "y.npz").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"y\.npz: can't be read as an archive of NumPy arrays"):
        open_labelled(tmp_path / "y.npz")
    monkeypatch.setattr(jpeg_archive, "LIMIT", 1000)
    with pytest.raises(DataError, match=r"unpacks to .* GiB, more than the limit"):
        open_labelled(save(tmp_path / "x.npz", **members()))


def test_two_archives_of_one_split_are_refused(tmp_path):
    for name in ("a_train_x.npz", "b_train_x.npz"):
        save(tmp_path / name, **members())
    with pytest.raises(DataError, match=r"a_train_x\.npz and b_train_x\.npz are both train; keep one of them"):
        open_labelled(tmp_path)


def test_a_damaged_image_is_named(tmp_path):
    found = members()
    found["jpeg"][found["offset"][1] : found["offset"][1] + 20] = 0
    found["jpeg"][found["offset"][3] - 2 : found["offset"][3]] = 7
    images = open_labelled(save(tmp_path / "x.npz", **found))
    for number, name in ((1, "dog/1"), (2, "cat/2")):
        with pytest.raises(DataError, match=rf"x\.npz: train/{name}: no whole JPEG or PNG; the archive is damaged"):
            images.read(number)
    assert images.read(0).shape == (8, 8, 3)


def test_a_picture_that_was_taken_turned_is_read_upright(tmp_path):
    stored = Image.fromarray(np.repeat(np.array([[200] * 16, [40] * 16], np.uint8).repeat(8, 0)[..., None], 3, 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = []
    for kept in (Image.Exif(), exif):
        written = io.BytesIO()
        stored.save(written, "JPEG", exif=kept)
        files.append(np.frombuffer(written.getvalue(), np.uint8))
    found = {**members(), "jpeg": np.concatenate([*files, *files]), "offset": np.cumsum([0, *map(len, files * 2)])}
    images = open_labelled(save(tmp_path / "pets.npz", **{f"train_{key}": value for key, value in found.items()}))
    plain, turned = images.read(0), images.read(1)
    assert np.array_equal(turned, np.rot90(plain, -1))
    assert not np.array_equal(turned, plain)
