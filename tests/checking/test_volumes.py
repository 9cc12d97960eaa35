"""The doctor on volumes: where they are, and whether their masks are there too."""

import shutil

import nibabel
import numpy as np
import pytest

from segkit.checking.mend import mend
from segkit.checking.run import check
from segkit.cli.main import main
from segkit.data.folder import open_dataset
from segkit.errors import UsageError
from segkit.medical.synthetic_volumes import draw_study, draw_volumes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_volumes(tmp_path_factory.mktemp("drawn") / "bodies", cases=6, shape=(16, 14, 5), spacing=(20, 20, 25))


@pytest.fixture
def bodies(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "bodies")


def kinds(report):
    return {one.kind: [str(place) for place in one.places] for one in report.findings}


def changed(file, change, affine=None):
    image = nibabel.load(file)
    where = image.affine if affine is None else affine(image.affine.copy())
    nibabel.save(nibabel.Nifti1Image(change(np.asanyarray(image.dataobj)), where), file)


def test_volumes_that_lie_differently_are_fine(bodies):
    report = check(bodies)
    assert set(kinds(report)) == {"orientations"}
    assert kinds(report)["orientations"] == [
        "LPS (4, for example body_000.nii.gz)",
        "RPI (2, for example body_001.nii.gz)",
    ]
    assert report.looked_at["sizes"] == {"16×14×5 voxels": 6}
    assert report.looked_at["pixels"] == {"voxels in 1 channel": 6}
    ids = np.concatenate([nibabel.load(file).get_fdata().ravel() for file in sorted((bodies / "masks").iterdir())])
    for label, share in enumerate(report.looked_at["classes"].values()):
        assert share == pytest.approx((ids == label).mean())


def test_a_mask_elsewhere_is_an_error(bodies):
    def moved(affine):
        affine[:3, 3] += affine[:3, 0]  # by a voxel
        return affine

    def turned(affine):
        affine[:3, 0] *= -1
        return affine

    changed(bodies / "masks" / "body_002.nii.gz", lambda ids: ids, moved)
    changed(bodies / "masks" / "body_003.nii.gz", lambda ids: ids, turned)
    changed(bodies / "masks" / "body_004.nii.gz", lambda ids: ids[:-1])
    found = kinds(check(bodies))
    assert found["grid"] == [
        "masks/body_002.nii.gz (places up to 20 mm apart)",
        "masks/body_003.nii.gz (orientations LPS and RPS)",
        "masks/body_004.nii.gz (shapes 16×14×5 and 15×14×5 voxels)",
    ]


def test_spacings_unlike_those_of_most(bodies):
    def wide(affine):
        affine[:3, :3] *= 10
        return affine

    for part in ("images", "masks"):
        changed(bodies / part / "body_002.nii.gz", lambda values: values, wide)
    found = kinds(check(bodies))
    assert found["unlike_spacing"] == ["images/body_002.nii.gz (200 × 200 × 250 mm, most have 20 × 20 × 25 mm)"]
    assert "grid" not in found


def test_a_volume_that_says_not_where_it_is(bodies):
    image = nibabel.load(bodies / "images" / "body_002.nii.gz")
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), None, image.header), bodies / "images" / "body_002.nii.gz")
    found = kinds(check(bodies))
    assert found["unlocated"] == ["images/body_002.nii.gz"]


def test_damaged_volumes_and_values_that_are_no_class(bodies):
    whole = (bodies / "images" / "body_002.nii.gz").read_bytes()
    (bodies / "images" / "body_002.nii.gz").write_bytes(whole[:200])
    changed(bodies / "masks" / "body_003.nii.gz", lambda ids: np.where(ids == 2, 7, ids).astype(np.uint8))
    found = kinds(check(bodies))
    assert [place.split(" (")[0] for place in found["unreadable"]] == ["images/body_002.nii.gz"]
    assert found["unknown_ids"][0].startswith("masks/body_003.nii.gz")


def test_a_mask_of_two_channels_is_no_mask_even_where_they_are_equal(bodies):
    changed(bodies / "masks" / "body_002.nii.gz", lambda ids: np.stack([ids, ids], axis=-1))
    [place] = kinds(check(bodies))["unreadable"]
    assert place == "masks/body_002.nii.gz (the mask has 2 channels; export class ids, one channel)"


def test_mending_is_not_offered(bodies):
    (bodies / "masks" / "body_003.nii.gz").unlink()
    changed(bodies / "masks" / "body_002.nii.gz", lambda ids: np.where(ids == 2, 7, ids).astype(np.uint8))
    report = check(bodies)
    assert {"no_mask", "unknown_ids"} <= {one.kind for one in report.errors}
    assert "--fix" not in report.table() + str(report.to_json())
    assert "Add the classes to dataset.yaml.\n" in report.table() + "\n"


def test_the_same_volume_in_two_splits(bodies):
    for part in ("images", "masks"):
        shutil.copy(bodies / part / "body_000.nii.gz", bodies / part / "body_005.nii.gz")
    assert "same_picture" in kinds(check(bodies))


def with_segmentations(folder, task="multiclass", classes=("background", "liver", "spleen")):
    """Two DICOM series with Segmentation objects of two classes, and no dataset.yaml."""
    from segkit.medical.dicom_seg_write import write_seg
    from segkit.medical.reading import read_volume

    (folder / "masks").mkdir(parents=True)
    for number in (1, 2):
        draw_study(folder / "images" / f"p{number}", shape=(16, 14, 5), spacing=(20, 20, 25), number=number)
        volume = read_volume(folder / "images" / f"p{number}")
        labels = (volume.values[..., 0] > 80).astype(np.uint8)
        if task == "multilabel":
            labels = np.stack([labels, labels])
            labels[1, labels.shape[1] // 2 :] = 0
        else:
            labels[labels.shape[0] // 2 :] *= 2
        write_seg(
            folder / "masks" / f"p{number}.dcm",
            labels,
            volume,
            classes=classes,
            task=task,
            background=0 if task == "multiclass" else None,
            model_name="m",
            model_digest="d",
        )
    return folder


def test_series_with_segmentations(tmp_path):
    folder = with_segmentations(tmp_path / "dicom")
    (folder / "dataset.yaml").write_text(
        "classes: [background, liver, spleen]\nsplits: {train: [p1], val: [p2], test: []}\n"
    )
    report = check(folder)
    assert not [one for one in report.findings if one.severity == "error" and one.kind != "empty_split"]
    assert report.looked_at["classes"]["liver"] > 0
    (folder / "dataset.yaml").write_text("classes: [background, liver]\nsplits: {train: [p1], val: [p2]}\n")
    assert "segment 'spleen' is none of the classes" in kinds(check(folder))["unreadable"][0]


def test_segmentations_are_read_as_training_reads_them(tmp_path):
    folder = with_segmentations(tmp_path / "dicom")
    for classes, named in (("[liver, spleen]", "task: multiclass\n"), ("[spleen, liver]", "background: spleen\n")):
        about = f"classes: {classes}\n{named}splits: {{train: [p1], val: [p2]}}\n"
        (folder / "dataset.yaml").write_text(about)
        assert report_of(folder) == shares_in_training(folder)


def test_one_class_of_segmentations_stands_before_a_background(tmp_path):
    folder = with_segmentations(tmp_path / "dicom", classes=("background", "liver", "liver"))
    (folder / "dataset.yaml").write_text("classes: [liver]\nsplits: {train: [p1], val: [p2]}\n")
    told = report_of(folder)
    assert told == shares_in_training(folder)
    assert list(told) == ["background", "liver"]
    assert 0 < told["liver"] < 1


def test_segmentations_without_classes_are_an_error(tmp_path):
    folder = with_segmentations(tmp_path / "dicom")
    [told] = kinds(check(folder))["coding"]
    assert "DICOM segmentations; list the names of their segments under 'classes:'" in told


def report_of(folder):
    return check(folder).looked_at["classes"]


def shares_in_training(folder):
    """Of the pixels that count, each class's."""
    opened = open_dataset(folder)
    ids = np.concatenate([opened.read_mask(sample).ravel() for sample in opened.samples("train", "val")])
    return {
        name: pytest.approx(np.mean(ids[ids != 255] == number), abs=1e-4) for number, name in enumerate(opened.classes)
    }


def test_series_with_segmentations_that_overlap(tmp_path):
    folder = with_segmentations(tmp_path / "dicom", "multilabel", ("body", "left"))
    about = "task: multilabel\nclasses: [body, left]\nsplits: {train: [p1], val: [p2]}\n"
    (folder / "dataset.yaml").write_text(about)
    report = check(folder)
    assert not report.errors
    assert report.looked_at["classes"]["body"] > report.looked_at["classes"]["left"] > 0
    (folder / "dataset.yaml").write_text(about.replace("left", "right"))
    assert [place.split(" (")[0] for place in kinds(check(folder))["unreadable"]] == ["masks/p1.dcm", "masks/p2.dcm"]


def test_a_file_for_each_class(bodies):
    for file in sorted((bodies / "masks").iterdir()):
        image = nibabel.load(file)
        ids, folder = np.asanyarray(image.dataobj), bodies / "masks" / file.name.removesuffix(".nii.gz")
        file.unlink()
        folder.mkdir()
        for number, name in enumerate(("liver", "spleen"), start=1):
            nibabel.save(nibabel.Nifti1Image((ids == number).astype(np.uint8), image.affine), folder / f"{name}.nii.gz")
    about = (bodies / "dataset.yaml").read_text()
    (bodies / "dataset.yaml").write_text(about.replace("multiclass", "multilabel").replace("- background\n", ""))
    report = check(bodies)
    assert not report.errors
    assert report.looked_at["classes"]["liver"] > report.looked_at["classes"]["spleen"] > 0


def test_two_files_of_one_name(bodies):
    (bodies / "images" / "body_001.nii").write_bytes(b"")
    assert kinds(check(bodies))["same_name"] == ["images/body_001.nii.gz (body_001.nii)"]


def test_volumes_are_not_mended_and_nobody_is_asked(bodies, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("segkit.cli.check._agreed", lambda _: pytest.fail("asked"))
    assert main(["check", str(bodies), "--fix", str(tmp_path / "copy")]) == 2
    assert "pictures alone are mended" in capsys.readouterr().err


def test_volumes_are_not_mended(bodies, tmp_path):
    with pytest.raises(UsageError, match=r"has volumes \(body_000.nii.gz and 5 more\), and pictures alone are mended"):
        mend(check(bodies), tmp_path / "copy", ())
