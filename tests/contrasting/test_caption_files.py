import cv2
import numpy as np
import pytest

from segkit.contrasting.caption_files import open_captions, own_captions
from segkit.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(10):
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), np.full((4, 6, 3), 20 * number, np.uint8))
    return tmp_path


def write(folder, *rows, head="file,caption", name="captions.csv"):
    (folder / name).write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return folder


def test_several_captions_an_image_in_the_order_of_the_list(folder):
    found = open_captions(
        write(
            folder,
            'pictures/1.png,"a cat, asleep",train',
            "pictures/0.png,ein Hund – größer,val",
            'pictures/1.png,"two\nlines",train',
            "",
            head="file,caption,split",
        )
    )
    assert found.captions == (("a cat, asleep", "two\nlines"), ("ein Hund – größer",))
    assert list(found.images.names) == ["pictures/1", "pictures/0"]
    assert {split: indices.tolist() for split, indices in found.images.splits.items()} == {"train": [0], "val": [1]}
    assert (found.images.labels == -1).all()
    assert found.images.read(0).tolist() == np.full((4, 6, 3), 20).tolist()
    assert found.images.notes == ()
    assert found.texts([1, 0]) == ["ein Hund – größer", "a cat, asleep", "two\nlines"]


def test_a_tenth_is_held_out_by_the_names_alone_where_there_is_no_val(folder):
    rows = [f"pictures/{number}.png,number {number}" for number in range(10)]
    found, again = (open_captions(write(folder, *order)) for order in (rows, rows[::-1]))
    for each in (found, again):
        assert {split: len(indices) for split, indices in each.images.splits.items()} == {"train": 9, "val": 1}
        assert "1 training images are held out as one (10%" in each.images.notes[0]
    held_out = [each.images.names[each.images.splits["val"][0]] for each in (found, again)]
    assert held_out[0] == held_out[1]


def test_other_separators_columns_and_spellings_of_splits(folder):
    path = write(folder, "validation;9;a cat;pictures\\3.png", head="Split;id;Caption;FILE", name="said.csv")
    found = open_captions(path / "said.csv")
    assert found.images.splits["val"].tolist() == [0]
    assert found.images.names == ["pictures/3"]
    assert found.images.notes == ("columns that are not used: id",)
    assert found.images.name == "said"


@pytest.mark.parametrize(
    ("head", "rows", "message"),
    [
        ("file,text", ["pictures/0.png,a"], r"no column 'caption'; the first line names the columns"),
        ("file,captoin", ["pictures/0.png,a"], r"no column is called 'captoin'; did you mean 'caption'"),
        ("file,caption,caption", ["pictures/0.png,a,b"], r"column 'caption' is there twice"),
        ("file,caption", [], r"lists no images"),
        (
            "file,caption",
            ["pictures/0.png,a,b"],
            r"line 2: 3 values for 2 columns; put a caption that has the separator",
        ),
        ("file,caption", ["pictures/0.png, "], r"line 2: no caption"),
        ("file,caption", [",a cat"], r"line 2: no file"),
        ("caption,file", ["pictures/0.png," + "a cat " * 60], r"line 2: there is no file .*a cat a cat"),
        ("file,caption", ["pictures/0.png,a", "pictures/x.png,a"], r"line 3: there is no file .*x\.png"),
        ("file,caption,split", ["pictures/0.png,a,trian"], r"line 2: no split 'trian'; did you mean 'train'"),
        (
            "file,caption,split",
            ["pictures/0.png,a,train", "pictures/0.png,b,val"],
            r"line 3: pictures/0.png has split 'val' here, but 'train' in line 2",
        ),
        ("file,caption", ['pictures/0.png,"a cat'], r"not CSV"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_with_its_line(folder, head, rows, message):
    with pytest.raises(DataError, match=message):
        open_captions(write(folder, *rows, head=head))


def test_an_image_alone_is_not_held_out_and_a_column_may_lack_a_name(folder):
    found = open_captions(write(folder, "0,pictures/1.png,a cat", head=",file,caption"))
    assert list(found.images.splits) == ["train"]
    assert found.images.notes == ("columns that are not used: one without a name",)


def test_no_list_and_no_utf_8(folder):
    with pytest.raises(UsageError, match="no list of captions there"):
        open_captions(folder)
    (folder / "captions.csv").write_bytes("file,caption\npictures/0.png,größer\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"not UTF-8 \(byte 30\)"):
        open_captions(folder)


def test_which_texts_are_whose():
    own = own_captions([("a", "b"), ("b",)], {"b": 0, "B": 0, "c": 1, "a": 2})
    assert own.tolist() == [[True, False, True], [True, False, False]]
