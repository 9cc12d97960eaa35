"""The Decathlon's tasks: pairs named in dataset.json, test images without labels; a real task comes back as it was."""

import json
import shutil

import numpy as np
import pytest
import yaml
from importing.layouts import contents, labels, read_nifti, volume, write_json, write_nifti

import segkit
from segkit.errors import DataError
from segkit.importing.run import import_dataset


def task(folder, **changes):
    """Three training cases and one for testing."""
    about = {
        "name": "Liver",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "numTraining": 3,
        "numTest": 1,
        "training": [
            {"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"} for n in range(3)
        ],
        "test": ["./imagesTs/liver_9.nii.gz"],
    }
    write_json(folder / "dataset.json", {key: value for key, value in (about | changes).items() if value is not None})
    for number in range(3):
        write_nifti(folder / f"imagesTr/liver_{number}.nii.gz", volume(number))
        write_nifti(folder / f"labelsTr/liver_{number}.nii.gz", labels(number))
    write_nifti(folder / "imagesTs/liver_9.nii.gz", volume(9))
    return folder


def test_a_task(tmp_path):
    source, out = task(tmp_path / "Task03_Liver"), tmp_path / "liver"
    (source / "imagesTr" / "._liver_0.nii.gz").write_bytes(b"a resource fork")
    before = contents(source)
    report = import_dataset(source, out)
    assert contents(source) == before
    assert (report.kind, report.name, report.task, report.cases) == ("decathlon", "Liver", "multiclass", 3)
    assert report.classes == ("background", "liver", "cancer")
    assert [(group.what, group.names) for group in report.left_out] == [("test images without labels", ("liver_9",))]
    assert report.notes == (
        "the source has a training split alone: splits are drawn by a hash of the names on opening",
    )
    assert sorted(contents(out)) == sorted(
        ["dataset.yaml", *(f"{part}/liver_{n}.nii.gz" for part in ("images", "masks") for n in range(3))]
    )
    assert (out / "images/liver_1.nii.gz").read_bytes() == before["imagesTr/liver_1.nii.gz"]
    assert (out / "masks/liver_1.nii.gz").read_bytes() == before["labelsTr/liver_1.nii.gz"]
    folder = segkit.open_dataset(out)
    assert {split: len(names) for split, names in folder.splits.items()} == {"train": 1, "val": 1, "test": 1}


def test_several_channels_are_one_file_already(tmp_path):
    source = task(tmp_path / "Task01_BrainTumour", modality={"0": "FLAIR", "1": "T1w"})
    for number in range(3):
        values = np.stack([volume(number), volume(number, 1)], axis=-1)
        write_nifti(source / f"imagesTr/liver_{number}.nii.gz", values)
    import_dataset(source, tmp_path / "out")
    assert read_nifti(tmp_path / "out/images/liver_2.nii.gz").shape == (4, 5, 6, 2)


def test_further_lists_are_further_splits(tmp_path):
    pairs = [{"image": f"imagesTr/liver_{n}.nii.gz", "label": f"labelsTr/liver_{n}.nii.gz"} for n in range(3)]
    unlabelled = {"image": "imagesTs/liver_9.nii.gz"}
    source = task(tmp_path / "a", training=pairs[:1], validation=pairs[1:2], test=[pairs[2], unlabelled], name=None)
    report = import_dataset(source, tmp_path / "out")
    assert report.name == "a"
    expected = {"train": ("liver_0",), "val": ("liver_1",), "test": ("liver_2",)}
    assert segkit.open_dataset(tmp_path / "out").splits == expected
    assert report.left_out[0].names == ("liver_9",)


def test_a_mask_takes_the_name_of_its_image(tmp_path):
    source = task(tmp_path / "a")
    about = json.loads((source / "dataset.json").read_text())
    for pair in about["training"]:
        (source / pair["label"]).rename(source / pair["label"].replace(".nii.gz", "_seg.nii.gz"))
        pair["label"] = pair["label"].replace(".nii.gz", "_seg.nii.gz")
    write_json(source / "dataset.json", about)
    import_dataset(source, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out/masks").iterdir()) == [f"liver_{n}.nii.gz" for n in range(3)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"zero": "background"}}, r"labels.zero.\[key\]: input should be a valid integer"),
        (
            {"labels": {"0": "background", "1": "liver", "2": "Liver", "3": "liver"}},
            r"labels: 'liver' is there twice: 1 an",
        ),
        (
            {"training": [{"image": "imagesTr/liver_0.nii.gz", "label": 3}]},
            r"training\[0\].label: input should be a valid s",
        ),
        ({"training": [{"image": "/etc/passwd", "label": "a"}]}, r"names '/etc/passwd', which leads out of its folder"),
        ({"training": []}, r"no case with a mask"),
        (
            {"labels": {"0": "background", "1": "liver"}},
            r"mask has values \{0, 1, 2\}; labels in dataset.json: \{0, 1\}",
        ),
    ],
)
def test_each_fault_is_one_line_that_names_it(changes, message, tmp_path):
    source = task(tmp_path / "a", **changes)
    with pytest.raises(DataError, match=message) as caught:
        import_dataset(source, tmp_path / "out", "decathlon")
    assert "\n" not in str(caught.value)


def test_a_real_task_comes_back_as_it_was(shared, tmp_path):
    real = shared / "msd_hippocampus_nifti"
    said = yaml.safe_load((real / "dataset.yaml").read_text())
    source, out = tmp_path / "Task04_Hippocampus", tmp_path / "out"
    for part, folder in (("images", "imagesTr"), ("masks", "labelsTr")):
        shutil.copytree(real / part, source / folder)
    pairs = {
        split: [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names]
        for split, names in said["splits"].items()
    }
    about = {
        "name": said["name"],
        "modality": {"0": "MRI"},
        "labels": dict(enumerate(said["classes"])),
        "training": pairs["train"],
        "validation": pairs["val"],
        "test": pairs["test"],
    }
    write_json(source / "dataset.json", about)
    report = import_dataset(source, out)
    assert (report.cases, report.warnings, report.left_out) == (33, (), ())
    for part in ("images", "masks"):
        assert contents(out / part) == contents(real / part)
    found, expected = segkit.open_dataset(out), segkit.open_dataset(real)
    assert (found.classes, found.task, found.splits) == (expected.classes, expected.task, expected.splits)
