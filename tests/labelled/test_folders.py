import shutil

import numpy as np
import pytest

from segkit.errors import DataError
from segkit.labelled.folders import open_folders
from segkit.labelled.opening import open_labelled


def named(images, split):
    return [images.names[index] for index in images.splits[split]]


@pytest.fixture
def split_pets(tmp_path, draw):
    """Two splits, of which one has a class more."""
    folder = tmp_path / "pets"
    for file in ("train/dog/1.png", "train/dog/2.png", "train/cat/1.png", "test/cat/9.png", "test/dog/1.png"):
        draw(folder / file, 7)
    return folder


def test_folders_of_classes_alone_are_split_class_by_class(pets):
    images = open_folders(pets)
    assert (images.name, images.classes) == ("pets", ("cat", "dog"))
    assert len(images) == 30
    assert images.names[:2] == ["cat/00", "cat/01"]
    sizes = {split: np.bincount(images.labels[found]).tolist() for split, found in images.splits.items()}
    assert sizes == {"train": [14, 6], "val": [3, 2], "test": [3, 2]}
    assert sorted(np.concatenate(list(images.splits.values()))) == list(range(30))
    assert images.notes == (
        "no folders of splits: 70/15/15 % of each class by a hash of the name (train 20, val 5, test 5)",
    )
    assert images.read(3).max() == 3


def test_a_drawn_split_goes_by_names_alone(pets, tmp_path):
    first = open_folders(pets)
    moved = shutil.copytree(pets, tmp_path / "moved" / "elsewhere")
    for split in ("train", "val", "test"):
        assert named(open_folders(moved), split) == named(first, split)


def test_folders_of_splits(split_pets):
    images = open_folders(split_pets)
    assert images.classes == ("cat", "dog")
    assert named(images, "train") == ["train/cat/1", "train/dog/1", "train/dog/2"]
    assert named(images, "test") == ["test/cat/9", "test/dog/1"]
    assert images.labels.tolist() == [0, 1, 1, 0, 1]
    assert images.notes == ()


def test_splits_have_other_names_too(split_pets):
    (split_pets / "train").rename(split_pets / "Training")
    (split_pets / "test").rename(split_pets / "validation")
    assert list(open_folders(split_pets).splits) == ["train", "val"]
    (split_pets / "Training").joinpath("x").mkdir()
    shutil.copytree(split_pets / "validation", split_pets / "valid")
    with pytest.raises(DataError, match="validation: 'valid' is the same split, val; keep one of them"):
        open_folders(split_pets)


def test_a_class_may_be_called_as_a_split(tmp_path, draw):
    for name in ("train", "bus"):
        draw(tmp_path / name / "1.png")
    assert open_folders(tmp_path).classes == ("bus", "train")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ("cat/train/1.png", "cat/Test/1.png", "dog/train/1.png"),
            "cat: holds Test and train; splits are above the cl",
        ),
        (("training_set/a/1.png", "test_set/b/1.png"), "test_set and training_set are called like splits, not classes"),
        (("train/1.png", "test/1.png"), "test and train are called like splits"),
    ],
)
def test_splits_in_another_place_are_no_classes(tmp_path, draw, files, message):
    for file in files:
        draw(tmp_path / file)
    with pytest.raises(DataError, match=message):
        open_folders(tmp_path)


def test_names_of_classes_are_compared_in_one_form_of_unicode(tmp_path, draw):
    for file in ("train/K\u00fche/1.png", "train/dog/1.png", "val/Ku\u0308he/1.png", "val/dog/1.png"):
        draw(tmp_path / file)
    images = open_folders(tmp_path)
    assert images.classes == ("K\u00fche", "dog")
    assert images.labels.tolist() == [0, 1, 0, 1]
    assert images.notes == ()


def test_a_class_that_is_not_learned_is_said(split_pets, draw):
    draw(split_pets / "test" / "dogs" / "1.png")
    draw(split_pets / "test" / "axolotl" / "1.png")
    images = open_folders(split_pets)
    assert images.classes == ("axolotl", "cat", "dog", "dogs")
    assert images.notes == (
        "no training image of class 'axolotl'",
        "no training image of class 'dogs'; did you mean 'dog'?",
    )


def test_what_is_no_image_is_left_out_and_said(split_pets):
    (split_pets / "train" / ".ipynb_checkpoints").mkdir()
    (split_pets / "train" / "cat" / ".hidden.png").touch()
    (split_pets / "train" / "cat" / "notes.txt").touch()
    (split_pets / "train" / "bird").mkdir()
    (split_pets / "train" / "__MACOSX").mkdir()
    (split_pets / "docs").mkdir()
    images = open_folders(split_pets)
    assert images.classes == ("cat", "dog")
    assert len(images) == 5
    assert images.notes == (
        "files of types that are not read here are left out: 1 × .txt",
        "no images in 'bird': not a class",
        "'docs' is no split (train, val, test): left out",
    )


def test_images_beside_the_classes_have_no_label(split_pets, draw):
    draw(split_pets / "test" / "unknown.png")
    images = open_folders(split_pets)
    assert named(images, "unlabelled") == ["test/unknown"]
    assert images.labels[images.splits["unlabelled"]].tolist() == [-1]
    assert "1 images lie in no class's folder: without label" in images.notes


def test_images_of_one_stem_keep_their_suffixes(tmp_path, draw):
    for file in ("a/1.png", "a/1.bmp", "a/deep/er/1.png", "b/1.png"):
        draw(tmp_path / file)
    images = open_folders(tmp_path)
    assert images.names == ["a/1.bmp", "a/1.png", "a/deep/er/1", "b/1"]
    assert images.classes == ("a", "b")


def test_classes_that_are_numbers_are_in_their_order(tmp_path, draw):
    for name in ("10", "9", "2"):
        draw(tmp_path / name / "1.png")
    assert open_folders(tmp_path).classes == ("2", "9", "10")


def test_links_are_followed_but_not_in_circles(tmp_path, draw):
    pool = tmp_path / "pool"
    for number in range(3):
        draw(pool / "cat" / f"{number}.png")
        draw(pool / "dog" / f"{number}.png")
    data = tmp_path / "data"
    (data / "train").mkdir(parents=True)
    for name in ("cat", "dog"):
        (data / "train" / name).symlink_to(pool / name)
        (data / "test" / name).mkdir(parents=True)
    (pool / "cat" / "again").symlink_to(pool / "cat")
    (data / "test" / "cat" / "x.png").symlink_to(pool / "cat" / "0.png")
    images = open_folders(data)
    assert {split: len(found) for split, found in images.splits.items()} == {"train": 6, "test": 1}
    assert images.notes == (
        f"1 images are in both train and test ({pool}/cat/0.png, by a link): scores will look better than they are",
    )
    (data / "test" / "cat" / "y.png").symlink_to(pool / "gone.png")
    with pytest.raises(DataError, match=r"y\.png: a link that leads nowhere \(.*gone\.png\); mend or remove it"):
        open_folders(data)


def test_a_folder_without_classes_is_refused(tmp_path, draw):
    with pytest.raises(DataError, match=r"no folders with images \(\.png, .*expected a folder for each class"):
        open_folders(tmp_path)
    draw(tmp_path / "pets" / "cat" / "1.png")
    draw(tmp_path / "pets" / "dog" / "1.png")
    with pytest.raises(DataError, match=r"images in one folder only, 'pets'; .* name .*pets$"):
        open_labelled(tmp_path)
