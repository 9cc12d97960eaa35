from pathlib import Path

import numpy as np
import pytest

from segkit.errors import DataError
from segkit.labelled.jpeg_archive import CIFAR10 as CIFAR10_CLASSES
from segkit.labelled.opening import open_labelled

CIFAR10 = Path(__file__).parents[2] / "../shared/data/cifar10"


def test_a_training_split_without_val_gives_one_up(pets):
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (pets / split / name).mkdir(parents=True)
    for file in [*pets.glob("cat/*"), *pets.glob("dog/*")]:
        file.rename(pets / ("test" if file.stem == "00" else "train") / file.parent.name / file.name)
    for name in ("cat", "dog"):
        (pets / name).rmdir()
    images = open_labelled(str(pets))
    assert {split: len(found) for split, found in images.splits.items()} == {"train": 25, "val": 3, "test": 2}
    assert images.notes[-1].startswith("no val split: 3 of the 28 training images are held out as one (10% of each")


def test_a_list_is_found_in_its_folder_or_named(pets):
    text = "file,label\ncat/00.png,cat\ndog/00.png,dog\n"
    (pets / "labels.csv").write_text(text)
    assert len(open_labelled(pets)) == 2
    (pets / "labels.csv").rename(pets / "mine.csv")
    assert len(open_labelled(pets)) == 30
    assert open_labelled(pets / "mine.csv").name == "mine"


def test_what_is_no_labelled_data_is_refused(tmp_path):
    def refused(path, message):
        with pytest.raises(DataError, match=message) as caught:
            open_labelled(path)
        assert str(caught.value).startswith(str(path))

    refused(tmp_path / "gone", "no such file or folder")
    (tmp_path / "x.tar.gz").touch()
    refused(tmp_path / "x.tar.gz", "unpack it and name the folder")
    (tmp_path / "x.txt").touch()
    refused(tmp_path / "x.txt", r"expected a folder, a \.csv or a \.npz; a folder has folders of classes")
    (tmp_path / "list.csv").touch()
    refused(tmp_path, r"has no labels\.csv, but list\.csv; name that file itself")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    refused(tmp_path, "images/ and masks/ are a dataset for segmentation")
    (tmp_path / "masks").rename(tmp_path / "depth")
    refused(tmp_path, "images/ and depth/ are pictures and their depth, and images have no one label")


@pytest.mark.skipif(not CIFAR10.is_dir(), reason="no CIFAR-10 beside the checkout")
def test_the_subset_of_cifar10():
    images = open_labelled(CIFAR10 / "cifar10_subset_5000_1000_jpeg.npz")
    assert images.classes == CIFAR10_CLASSES
    assert {split: np.bincount(images.labels[found]).tolist() for split, found in images.splits.items()} == {
        "train": [450] * 10,
        "val": [50] * 10,
        "test": [100] * 10,
    }
    assert images.names[0] == "train/airplane/0398"
    assert images.read(0).shape == (32, 32, 3)
