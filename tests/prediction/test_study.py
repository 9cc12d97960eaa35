"""A study of several DICOM series in one folder, with files that belong to none of them."""

import shutil

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from medical.dicom_files import CORONAL, SECRETS, save, write_series
from prediction.test_volumes import Bright

import segkit
from segkit.cli.main import main
from segkit.data.slices import Slices


def values_of(number, shape=(9, 8, 6)):
    """Stored values [I, J, K] with one bright box, at another place in each series."""
    values = np.full(shape, 100, np.int16)
    values[1 + number : 4 + number, 2:5, number : number + 3] = 900
    return values


@pytest.fixture
def study(tmp_path):
    """Three series, their files mixed; a localizer among the first; a cut-off file, a text and a report."""
    folder = tmp_path / "Quennell^Zebulon"
    folder.mkdir()
    for number, options in enumerate(
        ({}, {"orientation": CORONAL}, {"patient_position": "FFS", "slice_step": -3.0}), 1
    ):
        write_series(
            folder, values_of(number), shuffle=number, prefix=f"s{number}_", series_uid=f"1.2.3.{number}", **options
        )
    scout = pydicom.dcmread(sorted(folder.glob("s1_*"))[0])
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.SOPInstanceUID = "1.2.3.99"
    scout.ImageOrientationPatient = list(CORONAL)
    save(scout, folder / "a_scout.dcm")
    whole = sorted(folder.glob("s2_*"))[0].read_bytes()
    (folder / "broken.dcm").write_bytes(whole[: len(whole) // 3])
    (folder / "readme.txt").write_text("three series")
    return folder


def test_each_series_gets_its_object_and_the_rest_a_reason(study, tmp_path):
    predictor = segkit.Predictor(Bright(Slices()), precision="fp32")
    outcomes = predictor.predict_files(study, tmp_path / "out", report=True, pseudonymise=True)
    done = [outcome for outcome in outcomes if outcome.paths]
    assert len(done) == 3
    left = {outcome.source.name: outcome.skipped or outcome.error for outcome in outcomes if not outcome.paths}
    assert set(left) == {"a_scout.dcm", "broken.dcm"}
    assert "localizer" in left["a_scout.dcm"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "localizer" in page
    everything = b"".join(
        path.name.encode() + path.read_bytes() for path in (tmp_path / "out").iterdir() if path.suffix != ".dcm"
    )
    for secret in SECRETS:
        assert secret.encode() not in everything


def test_a_link_to_nothing_is_one_lost_file(study, tmp_path):
    (study / "gone.dcm").symlink_to("nowhere")
    outcomes = segkit.Predictor(Bright(Slices()), precision="fp32").predict_files(study, tmp_path / "out")
    assert len([outcome for outcome in outcomes if outcome.paths]) == 3
    assert [outcome.error for outcome in outcomes if outcome.error] == [f"{study / 'gone.dcm'}: no such file"]


def test_a_series_that_can_have_no_object_is_told_before_anything_is_computed(tmp_path):
    write_series(tmp_path / "old", FrameOfReferenceUID=None)
    model = Bright(Slices())
    [outcome] = segkit.Predictor(model, precision="fp32").predict_files(tmp_path / "old", tmp_path / "out")
    assert outcome.error == (
        f"{tmp_path / 'old'}: FrameOfReferenceUID (0020,0052) is missing or empty; a DICOM Segmentation object has to "
        "repeat it: export the images again with it, or convert them to NIfTI"
    )
    assert model.seen == []


def test_masks_lie_where_what_they_show_lies(study, tmp_path):
    predictor = segkit.Predictor(Bright(Slices()), precision="fp32")
    outcomes = predictor.predict_files(study, tmp_path / "out")
    written = [path for outcome in outcomes for path in outcome.paths if path.suffix == ".dcm"]
    assert len(written) == 3
    for path in written:
        seg = highdicom.seg.segread(path)
        sources = {
            str(dataset.SOPInstanceUID): dataset
            for dataset in map(pydicom.dcmread, sorted(study.glob("s*.dcm")))
            if dataset.SeriesInstanceUID == seg.ReferencedSeriesSequence[0].SeriesInstanceUID
        }
        uids = list(sources)
        frames = seg.get_pixels_by_source_instance(
            uids, combine_segments=True, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
        )
        for uid, frame in zip(uids, frames, strict=True):
            np.testing.assert_array_equal(frame == 1, sources[uid].pixel_array == 900)


def test_where_masks_are_agrees_with_another_reader(study, tmp_path):
    segkit.Predictor(Bright(Slices()), precision="fp32").predict_files(study, tmp_path / "out", probability=True)
    for number in (1, 2, 3):
        alone = tmp_path / f"alone{number}"
        alone.mkdir()
        for file in study.glob(f"s{number}_*"):
            shutil.copy(file, alone)
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(alone)))
        image = reader.Execute()
        bright = np.argwhere(SimpleITK.GetArrayFromImage(image) == 900)  # [n, (k, j, i)]
        points = {
            tuple(np.round(image.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]), 3)) for index in bright
        }
        assert points == marked_points(tmp_path / "out", f"1.2.3.{number}")


def marked_points(folder, series):
    """The centres of marked pixels in millimetres, read frame by frame with pydicom alone."""
    [seg] = [
        dataset
        for dataset in map(pydicom.dcmread, folder.glob("*_mask.dcm"))
        if dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == series
    ]
    shared = seg.SharedFunctionalGroupsSequence[0]
    down, across = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    found = set()
    frames = np.atleast_3d(seg.pixel_array) if seg.NumberOfFrames > 1 else seg.pixel_array[None]
    for frame, place in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(place.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(frame):
            found.add(tuple(np.round(corner + cosines[:3] * across * column + cosines[3:] * down * row, 3)))
    return found


def test_a_rerun_is_byte_equal(study, tmp_path):
    for name in ("one", "two"):
        predictor = segkit.Predictor(Bright(Slices()), precision="fp32")
        predictor.predict_files(study, tmp_path / name, report=True, probability=True)
    for path in (tmp_path / "one").iterdir():
        if path.name != "manifest.jsonl":  # which has the seconds
            assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_the_command_says_what_it_left_out(study, tmp_path, workplace, capsys):
    shutil.copytree(study, "study")
    model = segkit.Segmenter.create(
        {"name": "stem", "width": 4}, classes=["background", "x"], in_channels=1, window="picture", slices=Slices()
    )
    segkit.save(model, "of_volumes")
    code = main(["predict", "of_volumes", "study", "-o", "masks", "--report"])
    said = capsys.readouterr()
    assert "3 of 3 pictures predicted into masks" in said.out
    assert "left out: study/a_scout.dcm: a localizer" in said.err
    assert "study/broken.dcm" in said.err
    assert code == 0
