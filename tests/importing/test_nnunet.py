"""nnU-Net's raw data: both versions, channels, regions, what is ignored, folds; each fault is named."""

import json

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (as its own manual has it)
import tifffile
from importing.layouts import (
    AFFINE,
    contents,
    ids,
    labels,
    nnunet_pictures,
    nnunet_volumes,
    picture,
    read_nifti,
    volume,
    write_json,
    write_nifti,
    write_png,
)

import segkit
from segkit.data.description import read_description
from segkit.data.reader import read_pixels
from segkit.errors import DataError
from segkit.importing.run import import_dataset


@pytest.fixture
def source(tmp_path):
    return tmp_path / "Dataset012_Things"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "things"


def test_pictures_are_copied_byte_for_byte_and_the_dataset_is_clean(source, out):
    nnunet_pictures(source)
    before = contents(source)
    report = import_dataset(source, out)
    assert contents(source) == before
    assert (report.kind, report.name, report.task, report.cases) == ("nnunet", "Things", "multiclass", 6)
    assert report.classes == ("background", "class_1", "class_2")
    assert (report.warnings, report.left_out) == ((), ())
    for number in range(6):
        assert (out / f"images/cell_{number}.png").read_bytes() == before[f"imagesTr/cell_{number}_0000.png"]
        assert (out / f"masks/cell_{number}.png").read_bytes() == before[f"labelsTr/cell_{number}.png"]
    folder = segkit.open_dataset(out)
    assert (folder.name, folder.task, folder.background) == ("Things", "multiclass", 0)
    sample = folder.samples("test")[0]
    assert (folder.read_mask(sample) == ids(seed=int(sample.name[-1]))).all()
    checked = segkit.check(out)
    assert not checked.errors + checked.warnings


def test_volumes_are_copied_byte_for_byte(source, out):
    nnunet_volumes(source)
    before = contents(source)
    report = import_dataset(source, out)
    assert (report.warnings, report.left_out, report.cases) == ((), (), 3)
    for number in range(3):
        assert (out / f"images/case_{number}.nii.gz").read_bytes() == before[f"imagesTr/case_{number}_0000.nii.gz"]
        assert (out / f"masks/case_{number}.nii.gz").read_bytes() == before[f"labelsTr/case_{number}.nii.gz"]
    folder = segkit.open_dataset(out)
    sample = folder.samples("train")[0]
    assert sample.volume
    assert (folder.read_mask(sample).reshape(4, 5, 6) == labels(int(sample.name[-1]))).all()


def test_fold_0_becomes_train_and_val(source, out):
    nnunet_pictures(source)
    folds = [{"train": ["cell_0", "cell_3"], "val": ["cell_5", "cell_1"]}, {"train": ["cell_1"], "val": ["cell_0"]}]
    write_json(source / "splits_final.json", folds)
    report = import_dataset(source, out)
    assert segkit.open_dataset(out).splits == {"train": ("cell_0", "cell_3"), "val": ("cell_5", "cell_1")}
    assert report.splits == {"train": 2, "val": 2}
    assert report.notes == (
        "train and val are fold 0 of splits_final.json; other folds, which aren't taken: 1",
        "cases in no split: 2 that fold 0 doesn't list",
    )


def test_labelled_test_cases_are_the_test_split_and_some_of_training_validate(source, out):
    nnunet_pictures(source, cases=10)
    for part, prefix in (("imagesTr", "imagesTs"), ("labelsTr", "labelsTs")):
        (source / prefix).mkdir()
        for file in sorted((source / part).iterdir())[7:]:
            file.rename(source / prefix / file.name)
    (source / "labelsTs" / "cell_9.png").unlink()
    report = import_dataset(source, out)
    splits = segkit.open_dataset(out).splits
    assert splits["test"] == ("cell_7", "cell_8")
    assert len(splits["val"]) == 1
    assert sorted(splits["train"] + splits["val"]) == [f"cell_{number}" for number in range(7)]
    assert report.notes == ("the source has no validation split: 1 of its 7 training cases, by a hash of their names",)
    assert [(group.what, group.names) for group in report.left_out] == [
        ("cases of imagesTs without a file in labelsTs", ("cell_9",))
    ]


def test_version_1(tmp_path, out):
    source = nnunet_volumes(tmp_path / "Task501_Brain", channels=("T1", "T2"))
    listed = [{"image": f"./imagesTr/case_{n}.nii.gz", "label": f"./labelsTr/case_{n}.nii.gz"} for n in range(3)]
    about = {
        "name": "BrainThings",
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "background", "1": "liver", "2": "tumour"},
        "training": listed,
        "numTraining": 3,
        "test": [],
    }
    write_json(source / "dataset.json", about)
    report = import_dataset(source, out)
    assert (report.kind, report.name, report.classes) == ("nnunet", "BrainThings", ("background", "liver", "tumour"))
    assert read_nifti(out / "images/case_2.nii.gz").shape == (4, 5, 6, 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_channels_of_a_volume_become_one_file(source, out, dtype):
    nnunet_volumes(source, channels=("T1", "T2", "PD"), dtype=dtype)
    report = import_dataset(source, out)
    assert report.notes[0] == "the 3 channels of a case are put into one file, in the order of their numbers"
    merged = sitk.ReadImage(str(out / "images/case_1.nii.gz"))
    single = sitk.ReadImage(str(source / "imagesTr/case_1_0000.nii.gz"))
    assert merged.GetSize() == (*single.GetSize(), 3)
    assert merged.GetOrigin()[:3] == single.GetOrigin()
    assert merged.GetSpacing() == (*single.GetSpacing(), 1.0)
    found = read_nifti(out / "images/case_1.nii.gz")
    assert found.dtype == dtype
    assert (found == np.stack([volume(1, channel, dtype) for channel in range(3)], axis=-1)).all()


def test_channels_of_different_types_become_float32(source, out):
    nnunet_volumes(source, cases=1, channels=("T1", "T2"))
    write_nifti(source / "imagesTr/case_0_0001.nii.gz", np.full((4, 5, 6), 0.25))
    import_dataset(source, out)
    found = read_nifti(out / "images/case_0.nii.gz")
    assert found.dtype == np.float32
    assert (found[..., 0] == volume(0)).all()
    assert (found[..., 1] == 0.25).all()


def test_channels_in_metaimage(source, out):
    nnunet_volumes(source, cases=1, channels=("T1", "T2"), file_ending=".mha")
    for file in sorted(source.rglob("*.nii.gz")):
        sitk.WriteImage(sitk.ReadImage(str(file)), str(file).removesuffix(".nii.gz") + ".mha")
        file.unlink()
    import_dataset(source, out)
    merged = sitk.ReadImage(str(out / "images/case_0.mha"))
    first = sitk.ReadImage(str(source / "imagesTr/case_0_0000.mha"))
    assert merged.GetNumberOfComponentsPerPixel() == 2
    assert (merged.GetOrigin(), merged.GetSpacing(), merged.GetDirection()) == (
        first.GetOrigin(),
        first.GetSpacing(),
        first.GetDirection(),
    )
    assert (sitk.GetArrayFromImage(merged)[..., 1].transpose(2, 1, 0) == volume(0, 1)).all()
    assert (out / "masks/case_0.mha").read_bytes() == (source / "labelsTr/case_0.mha").read_bytes()


def test_grey_channels_of_a_picture_become_one_tiff(source, out):
    nnunet_pictures(source, cases=4, channel_names={"0": "DAPI", "1": "GFP"}, file_ending=".tif")
    for number in range(4):
        (source / f"imagesTr/cell_{number}_0000.png").unlink()
        mask = source / f"labelsTr/cell_{number}.png"
        tifffile.imwrite(mask.with_suffix(".tif"), cv2.imread(str(mask), cv2.IMREAD_UNCHANGED))
        mask.unlink()
        for channel in range(2):
            grey = (picture(seed=10 * number + channel)[..., 0]).astype(np.uint16) * 200
            tifffile.imwrite(source / f"imagesTr/cell_{number}_{channel:04d}.tif", grey)
    import_dataset(source, out)
    expected = np.stack([picture(seed=20 + channel)[..., 0].astype(np.uint16) * 200 for channel in range(2)], axis=-1)
    assert (read_pixels(out / "images/cell_2.tif") == expected).all()
    assert not segkit.check(out).errors


def test_the_ignore_label_stays_what_it_is_and_is_ignored(source, out):
    nnunet_pictures(source, classes=4, labels={"background": 0, "a": 1, "b": 2, "ignore": 3})
    import_dataset(source, out)
    assert read_description(out / "dataset.yaml").ignore_index == 3
    assert (out / "masks/cell_0.png").read_bytes() == (source / "labelsTr/cell_0.png").read_bytes()
    folder = segkit.open_dataset(out)
    drawn = ids(classes=4)
    assert (folder.read_mask(folder.files["cell_0"]) == np.where(drawn == 3, 255, drawn)).all()


def test_label_values_with_gaps_are_written_anew(source, out):
    nnunet_pictures(source, labels={"vessel": 200, "background": 0, "ignore": 300, "tissue": 7})
    for number in range(6):
        values = np.array([0, 7, 200, 300], dtype=np.uint16)[ids(classes=4, seed=number)]
        write_png(source / f"labelsTr/cell_{number}.png", values)
    report = import_dataset(source, out)
    assert report.classes == ("background", "tissue", "vessel")
    assert report.notes[0] == "label values {0, 7, 200} became 0..2"
    drawn = np.array([0, 1, 2, 255], dtype=np.uint8)[ids(classes=4, seed=5)]
    assert (cv2.imread(str(out / "masks/cell_5.png"), cv2.IMREAD_UNCHANGED) == drawn).all()
    folder = segkit.open_dataset(out)
    assert (folder.read_mask(folder.files["cell_5"]) == drawn).all()


def test_a_foreground_of_255_becomes_1(source, out):
    nnunet_pictures(source, labels={"background": 0, "road": 255})
    for number in range(6):
        write_png(source / f"labelsTr/cell_{number}.png", 255 * ids(classes=2, seed=number))
    report = import_dataset(source, out)
    assert report.task == "binary"
    folder = segkit.open_dataset(out)
    assert (folder.read_mask(folder.files["cell_1"]) == ids(classes=2, seed=1)).all()


REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}


def parts(values, value_of):
    """The mask of each region, worked out value by value."""
    return {
        name: np.vectorize(lambda value, inside=inside: 255 if value == 4 else int(value in inside))(values)
        for name, inside in value_of.items()
    }


WITHIN = {"whole": {1, 2, 3}, "core": {2, 3}, "enhancing": {3}}


def test_regions_of_pictures_become_a_mask_for_each(source, out):
    nnunet_pictures(source, classes=5, labels=REGIONS, regions_class_order=[1, 2, 3])
    report = import_dataset(source, out)
    assert (report.task, report.classes) == ("multilabel", ("whole", "core", "enhancing"))
    folder = segkit.open_dataset(out)
    expected = parts(ids(classes=5, seed=2), WITHIN)
    found = folder.read_mask(folder.files["cell_2"])
    for layer, name in zip(found, report.classes, strict=True):
        assert (layer == expected[name]).all()
    checked = segkit.check(out)
    assert not checked.errors + checked.warnings


def test_regions_of_volumes_become_a_volume_for_each(source, out):
    nnunet_volumes(source, labels=REGIONS, regions_class_order=[1, 2, 3])
    for number in range(3):
        write_nifti(source / f"labelsTr/case_{number}.nii.gz", labels(number, classes=5))
    report = import_dataset(source, out)
    expected = parts(labels(1, classes=5), WITHIN)
    for name in report.classes:
        image = sitk.ReadImage(str(out / f"masks/case_1/{name}.nii.gz"))
        assert (sitk.GetArrayFromImage(image).transpose() == expected[name]).all()
        assert image.GetSpacing() == (1.5, 2.0, 3.0)
        assert image.GetOrigin() == (-30.0, 20.0, 7.0)
    folder = segkit.open_dataset(out)
    assert folder.read_mask(folder.files["case_1"]).shape == (3, 4 * 5, 6)


def test_files_that_dataset_json_names(source, out):
    nnunet_pictures(source, cases=4)
    listed = {f"a{n}": {"images": [f"imagesTr/cell_{n}_0000.png"], "label": f"labelsTr/cell_{n}.png"} for n in range(3)}
    about = json.loads((source / "dataset.json").read_text())
    write_json(source / "dataset.json", {**about, "dataset": listed})
    import_dataset(source, out)
    assert sorted(segkit.open_dataset(out).files) == ["a0", "a1", "a2"]
    listed["a1"]["label"] = "../elsewhere.png"
    write_json(source / "dataset.json", {**about, "dataset": listed})
    with pytest.raises(DataError, match=r"dataset.json: names '../elsewhere.png', which leads out of its folder"):
        import_dataset(source, out.with_name("again"))


def test_what_lies_beside_is_left_out_and_said(source, out):
    nnunet_pictures(source)
    (source / "labelsTr/cell_2.png").unlink()
    write_png(source / "imagesTr/overview.png", picture())
    (source / "imagesTr/._cell_0_0000.png").write_bytes(b"a resource fork")
    report = import_dataset(source, out)
    assert [(group.what, group.names) for group in report.left_out] == [
        ("cases of imagesTr without a file in labelsTr", ("cell_2",)),
        ("files in imagesTr that aren't called CASE_0000.png", ("overview.png",)),
    ]
    assert report.cases == 5


def spoil(source, how):
    """One fault in a dataset of volumes with two channels."""
    about = json.loads((source / "dataset.json").read_text())
    image, label = source / "imagesTr/case_1_0001.nii.gz", source / "labelsTr/case_1.nii.gz"
    match how:
        case "channel missing":
            image.unlink()
        case "channel beyond":
            write_nifti(source / "imagesTr/case_1_0002.nii.gz", volume(1, 2))
        case "channel elsewhere":
            write_nifti(image, volume(1, 1), AFFINE + np.eye(4, k=3) * 5)
        case "channel of another shape":
            write_nifti(image, volume(1, 1)[:, :, 1:])
        case "channels in a channel":
            write_nifti(image, np.zeros((4, 5, 6, 2), dtype=np.int16))
        case "value":
            write_nifti(label, labels(1) + 5)
        case "fractions":
            write_nifti(label, labels(1) * np.float32(0.5))
        case "negative":
            write_nifti(label, labels(1).astype(np.int16) - 1)
        case "channels in a label":
            write_nifti(label, np.zeros((4, 5, 6, 2), dtype=np.uint8))
        case "cut short":
            image.write_bytes(image.read_bytes()[:200])
        case "no labels":
            about["labels"] = {"background": 0}
        case "value twice":
            about["labels"] = {"background": 0, "a": 1, "b": 1}
        case "ignore is a class":
            about["labels"] = {"background": 0, "a": 1, "ignore": 1}
        case "ignore twice":
            about["labels"] = {"background": 0, "a": 1, "ignore": [2, 3]}
        case "value out of range":
            about["labels"] = {"background": 0, "a": -1}
        case "region of nothing":
            about["labels"] = {"background": 0, "a": [1, 2], "b": []}
        case "class that is no file name":
            about["labels"] = {"background": 0, "a/b": [1, 2], "c": 2}
        case "labels that aren't numbers":
            about["labels"] = {"background": 0, "a": "one"}
        case "no ending":
            del about["file_ending"]
        case "no folder":
            (source / "imagesTr").rename(source / "imagesTrain")
        case "no folds":
            write_json(source / "splits_final.json", [])
        case "a fold of others":
            write_json(source / "splits_final.json", [{"train": ["case_0", "case_8", "x"], "val": ["case_1"]}])
        case "a fold without val":
            write_json(source / "splits_final.json", [{"train": ["case_0"]}])
        case "twice":
            write_nifti(source / "imagesTs/case_1_0000.nii.gz", volume(1))
            write_nifti(source / "imagesTs/case_1_0001.nii.gz", volume(1))
            write_nifti(source / "labelsTs/case_1.nii.gz", labels(1))
    write_json(source / "dataset.json", about)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "channel missing",
            r"imagesTr/case_1_0001.nii.gz: no such file; 1 of 3 cases lack files: get them, or leave these",
        ),
        (
            "channel beyond",
            r"imagesTr/case_1_0002.nii.gz: a channel beyond the 2 in dataset.json; name it there, or rem",
        ),
        (
            "channel elsewhere",
            r"case_1_0001.nii.gz: not on the grid of case_1_0000.nii.gz \(places up to 5 mm apart\); c",
        ),
        (
            "channel of another shape",
            r"case_1_0001.nii.gz: not on the grid of .* \(shapes 4×5×6 and 4×5×5 voxels\); cha",
        ),
        ("channels in a channel", r"case_1_0001.nii.gz: it has 2 channels itself; a file of channels has one"),
        (
            "value",
            r"labelsTr/case_1.nii.gz: mask has values \{5, 6, 7\}; labels in dataset.json: \{0, 1, 2\}. Add what",
        ),
        (
            "fractions",
            r"labelsTr/case_1.nii.gz: the mask holds fractions; export labels as whole numbers, without smoo",
        ),
        ("negative", r"labelsTr/case_1.nii.gz: the mask holds values from -1 to 1; labels are 0..65535"),
        ("channels in a label", r"labelsTr/case_1.nii.gz: 2 values for each voxel; labels have one"),
        ("cut short", r"case_1_0001.nii.gz: the file is cut short, or damaged; copy or export it again"),
        ("no labels", r"dataset.json: labels: nothing but 'background'; there is nothing to learn"),
        ("value twice", r"dataset.json: labels: 1 is both 'a' and 'b'"),
        ("ignore is a class", r"dataset.json: labels: 1 is both 'a' and 'ignore'"),
        ("ignore twice", r"dataset.json: labels: 'ignore' is \[2, 3\]; expected one value"),
        ("value out of range", r"dataset.json: labels: 'a' is -1; expected a whole number from 0 to 65535"),
        ("region of nothing", r"dataset.json: labels: 'b' is \[\]; expected a whole number from 0 to 65535"),
        ("class that is no file name", r"class 'a/b' can't be the name of a file, as masks of several labels are"),
        ("labels that aren't numbers", r"dataset.json: labels.a.int: input should be a valid integer, unable to parse"),
        ("no ending", r"dataset.json: file_ending: missing"),
        ("no folder", r"imagesTr: no such folder; nnU-Net's images lie there, as CASE_0000.nii.gz"),
        ("no folds", r"splits_final.json: no folds; remove it to have splits drawn"),
        (
            "a fold of others",
            r"split 'train' lists 'case_8' and 1 more, of which there is no case; get them, or leave",
        ),
        ("a fold without val", r"splits_final.json: \[0\].val: missing"),
        (
            "twice",
            r"imagesTs/case_1_0000.nii.gz: .*imagesTr/case_1_0000.nii.gz has the same name, 'case_1'; rename one",
        ),
    ],
)
def test_each_fault_is_one_line_that_names_it(how, message, source, out):
    spoil(nnunet_volumes(source, channels=("T1", "T2")), how)
    with pytest.raises(DataError, match=message) as caught:
        import_dataset(source, out)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in out.parent.iterdir()] == [source.name]


def test_a_mask_that_does_not_lie_on_its_volume_is_a_warning(source, out):
    nnunet_volumes(source)
    write_nifti(source / "labelsTr/case_2.nii.gz", labels(2), np.diag([1.0, 1, 1, 1]))
    report = import_dataset(source, out)
    assert [(group.what, group.names) for group in report.warnings] == [
        ("masks that don't lie on their images ('segkit check' says more)", ("case_2 (orientations LAS and RAS)",))
    ]


def test_a_picture_with_a_mask_of_another_size_is_a_warning(source, out):
    nnunet_pictures(source)
    write_png(source / "labelsTr/cell_4.png", ids(10, 16))
    report = import_dataset(source, out)
    assert report.warnings[0].names == ("cell_4 (the mask is 16×10, its picture 16×12)",)


def test_stacks_of_tiff_pages_are_volumes_and_their_spacings_are_left(source, out):
    about = {"channel_names": {"0": "EM"}, "labels": {"background": 0, "membrane": 1}, "file_ending": ".tif"}
    write_json(source / "dataset.json", about)
    for number in range(3):
        for place, pages in (
            (f"imagesTr/s{number}_0000.tif", volume(number, dtype=np.uint16)),
            (f"labelsTr/s{number}.tif", labels(number, 2)),
        ):
            (source / place).parent.mkdir(exist_ok=True)
            tifffile.imwrite(source / place, pages, photometric="minisblack")
        write_json(source / f"imagesTr/s{number}.json", {"spacing": [3.0, 1.0, 1.0]})
    report = import_dataset(source, out)
    assert [(group.what, len(group.names)) for group in report.left_out] == [
        ("files in imagesTr that aren't called CASE_0000.tif", 3)
    ]
    folder = segkit.open_dataset(out)
    assert folder.files["s1"].volume
    pages = folder.read_mask(folder.files["s1"]).reshape(6, 5, 4)  # columns, rows, pages
    assert (pages.transpose(2, 1, 0) == labels(1, 2)).all()


def test_a_missing_channel_of_a_picture_is_named(source, out):
    nnunet_pictures(source, cases=3, channel_names={"0": "DAPI", "1": "GFP"})
    for number in range(3):
        first = source / f"imagesTr/cell_{number}_0000.png"
        (first.with_name(f"cell_{number}_0001.png")).write_bytes(first.read_bytes())
    (source / "imagesTr/cell_1_0001.png").unlink()
    with pytest.raises(DataError, match=r"cell_1_0001\.png"):
        import_dataset(source, out)
