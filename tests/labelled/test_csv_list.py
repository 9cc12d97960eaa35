import numpy as np
import pytest

from segkit.errors import DataError
from segkit.labelled.csv_list import open_csv


@pytest.fixture
def listed(tmp_path, draw):
    """Six images, and a list of what is given."""
    for number in range(6):
        draw(tmp_path / "scans" / f"{number}.png", number)

    def written(text, name="labels.csv", **options):
        path = tmp_path / name
        path.write_text(text, **options)
        return path

    return written


def fails(path, message):
    with pytest.raises(DataError, match=message) as caught:
        open_csv(path)
    assert str(caught.value).startswith(str(path))


def test_a_list_with_splits(listed, tmp_path):
    path = listed(
        "file,label,split\nscans/3.png,dog,train\n\n scans/1.png , cat ,Training\nscans/2.png,cat,valid\n"
        "scans/0.png,dog,TEST\nscans/5.png,,test\n"
    )
    images = open_csv(path)
    assert (images.name, images.path, images.classes) == (tmp_path.name, path, ("cat", "dog"))
    assert images.names == ["scans/3", "scans/1", "scans/2", "scans/0", "scans/5"]
    assert images.labels.tolist() == [1, 0, 0, 1, -1]
    assert {split: found.tolist() for split, found in images.splits.items()} == {
        "train": [0, 1],
        "val": [2],
        "test": [3],
        "unlabelled": [4],
    }
    assert images.notes == ("1 images have no label",)
    assert images.read(0).max() == 3


def test_a_list_without_splits_is_split(listed):
    rows = "".join(f"scans/{number}.png;{number % 2}\n" for number in range(6))
    images = open_csv(listed("file;label\n" + rows, name="mine.csv", encoding="utf-8-sig"))
    assert (images.name, images.classes) == ("mine", ("0", "1"))
    sizes = {split: np.bincount(images.labels[found]).tolist() for split, found in images.splits.items()}
    assert sizes == {"train": [1, 1], "val": [1, 1], "test": [1, 1]}
    assert images.notes == (
        "no column 'split': 70/15/15 % of each class by a hash of the name (train 2, val 2, test 2)",
    )


def test_paths_from_elsewhere_and_of_another_system(listed, draw, tmp_path):
    outside = draw(tmp_path / "x" / "a, b.png", 9)
    path = listed(f'label\tfile\tage\n1\t"{outside}"\t3\n2\tscans\\1.png\t4\n', name="mine.tsv")
    images = open_csv(path)
    assert images.read(0).max() == 9
    assert images.names[1] == "scans/1"
    assert images.notes[0] == "columns that are not used: age"


def test_a_class_without_a_training_image_is_said_and_unicode_has_one_form(listed):
    rows = ["0,K\u00fche,train", "1,dog,train", "2,Ku\u0308he,val", "3,dogs,val", "4,axolotl,val"]
    images = open_csv(listed("file,label,split\n" + "".join(f"scans/{row}\n".replace(",", ".png,", 1) for row in rows)))
    assert images.classes == ("K\u00fche", "axolotl", "dog", "dogs")
    assert images.labels.tolist() == [0, 2, 0, 3, 1]
    assert images.notes == (
        "no training image of class 'axolotl'",
        "no training image of class 'dogs'; did you mean 'dog'?",
    )


def test_a_line_that_is_there_twice_counts_once(listed):
    images = open_csv(listed("file,label\nscans/0.png,a\n./scans/0.png,a\nscans/1.png,b\n"))
    assert len(images) == 2
    assert images.notes[0] == "1 lines are there twice; each counts once"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nscans/0.png,a\nscans/0.png,b\n", r"line 3: scans/0\.png has label 'b' here, but 'a' in line 2"),
        (
            "file,label,split\nscans/0.png,a,train\nscans/0.png,a,test\n",
            r"line 3: scans/0\.png has split 'test' here, but 'train' in line 2; an image has one",
        ),
        ("file,label\nscans/0.png,a\nscans/x.png,b\n", r"line 3: there is no file .*scans/x\.png\. Paths are taken"),
        ("file,label\ny.png,a\nscans/x.png,b\n", r"line 2: there is no file .*y\.png; 2 of the 2 files are missing"),
        ("file,label,split\nscans/0.png,a,tset\n", "line 2: no split 'tset'; did you mean 'test'"),
        ("file,label,split\nscans/0.png,a,\n", "line 2: no split ''; there are: train, val, test"),
        ("file,label,spilt\nscans/0.png,a,test\n", "no column is called 'spilt'; did you mean 'split'"),
        ("file,lable\nscans/0.png,a\n", "no column is called 'lable'; did you mean 'label'"),
        ("scans/0.png,a\n", "no column 'file'; the first line names the columns: file,label or file,label,split"),
        ("", "no column 'file'"),
        (f"file,label\n{'a' * 300}.png,a\n", r"line 2: there is no file .*aaa\.png\. Paths are taken"),
        ("file,label,label\n", "column 'label' is there twice"),
        (
            "file,label\nscans/0.png,a,b\n",
            "line 2: 3 values for 2 columns; put a label that has the separator in it in quotes",
        ),
        ("file,label\n,a\n", "line 2: no file"),
        ("file,label\n", "lists no images; the first line names the columns"),
        ("file,label\nscans/0.png,\n", "no line has a label"),
        ('file,label\n"scans/0.png,a\n', "line 2: not CSV"),
        ('file,label\n"scans/0.png","a\nb"\nscans/x.png,a\n', r"line 4: there is no file .*scans/x\.png"),
    ],
)
def test_mistakes_are_named(listed, text, message):
    fails(listed(text), message)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00file")
    fails(tmp_path / "labels.csv", r"not UTF-8 \(byte 0\)")
