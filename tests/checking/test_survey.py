"""What can be wrong with a folder before a picture is opened."""

import shutil

import pytest

from segkit.checking.run import check
from segkit.errors import DataError


def test_a_drawn_dataset_has_nothing_wrong(cells, found):
    assert found(cells.path, notes=True) == {}


def test_every_fault_of_the_description_is_told_and_the_rest_of_it_used(cells, found):
    cells.describe(clases=["x"], depth_unit="cm", splits={"train": cells.train, "val": [], "test": cells.test})
    told = found(cells.path)
    assert told["description"] == [
        "dataset.yaml (depth_unit: expected mm, m, so many of them such as 0.1mm, disparity or relative (found 'cm'))",
        "dataset.yaml (no key 'clases'; did you mean 'classes'?)",
    ]
    assert told["empty_split"] == ["val"]


def test_without_classes_the_masks_are_not_judged_by_them(cells, found):
    cells.describe(classes=["cell", "background"], background=None)
    cells.write(f"masks/{cells.train[0]}.png", 7 * cells.mask(cells.train[0]))
    [told] = found(cells.path).values()
    assert told == [
        "dataset.yaml (classes: 'background' is the background, so a binary task lists it first: [background, cell]. "
        "Swap 0 and 1 in the masks too; masks in a palette's colours stay as they are)"
    ]


def test_missing_pairs(cells, found):
    first, second = cells.train[:2]
    (cells.path / "masks" / f"{first}.png").unlink()
    (cells.path / "images" / f"{second}.png").unlink()
    cells.describe(roi="fov", splits={**cells.description["splits"], "train": [*cells.train, "ghost"]})
    for name in (*cells.train[2:], *cells.val):
        cells.write(f"fov/{name}.png", 1 + 0 * cells.mask(name))
    assert found(cells.path) == {
        "no_picture": [f"{second} (train)", "ghost (train)"],
        "no_mask": [f"{first} (train)"],
        "no_roi": [f"{name} (train)" for name in [first]] + [f"{name} (test)" for name in cells.test],
        "mask_alone": [f"masks/{second}"],
    }


def test_pictures_of_no_split_are_a_note_without_a_mask_too(cells, found):
    cells.describe(splits={**cells.description["splits"], "train": cells.train[2:]})
    (cells.path / "masks" / f"{cells.train[0]}.png").unlink()
    assert found(cells.path, notes=True) == {"unlisted": cells.train[:2]}


def test_two_files_of_one_name_and_files_of_other_types(cells, found):
    name = cells.train[0]
    shutil.copy(cells.path / f"images/{name}.png", cells.path / f"images/{name}.bmp")
    (cells.path / "images" / "notes.txt").touch()
    (cells.path / "masks" / "old").mkdir()
    assert found(cells.path, notes=True) == {
        "same_name": [f"images/{name}.png ({name}.bmp)"],
        "other_files": ["images/ (1 × .txt)", "masks/ (1 × folders)"],
    }


def test_splits_that_are_empty_missing_or_overlap(cells, found):
    groups = {"patient": [cells.train[1], cells.test[1]], "other": [cells.train[0], cells.test[0], "nobody"]}
    cells.describe(splits={"train": [*cells.train, cells.test[0]], "val": [], "test": cells.test}, groups=groups)
    assert found(cells.path) == {
        "empty_split": ["val"],
        "two_splits": [f"{cells.test[0]} (train and test)"],  # its group is not told again
        "group": ["patient (train and test)"],
        "unknown_stems": ["nobody (other)"],
    }
    cells.describe(splits={"train": cells.train}, groups=None)
    assert found(cells.path) == {"no_split": ["val", "test"]}


def test_without_a_description_what_is_decided_is_said(cells, found):
    (cells.path / "dataset.yaml").unlink()
    assert found(cells.path, notes=True) == {
        "decided": [
            "dataset.yaml (there is none: classes and splits are worked out)",
            "splits (drawn by a hash of the names: train 8, val 2, test 2)",
            "masks (the masks hold class ids 0..1)",
        ]
    }


def test_an_empty_folder_and_none(tmp_path, found):
    assert "folder" in found(tmp_path)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        check(tmp_path / "nowhere")
