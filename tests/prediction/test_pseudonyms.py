"""Names for outputs, and texts, that say nothing of the inputs' names."""

import json
import shutil

import cv2
import nibabel
import numpy as np
import pytest
import SimpleITK
from medical.dicom_files import write_series
from prediction.test_volumes import Bright

import segkit
from segkit.data.depth_format import DepthFormat
from segkit.data.slices import Slices
from segkit.prediction.pseudonyms import NameHiding, pseudonymised
from segkit.prediction.sources import Source, expand

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


@pytest.fixture
def patient(tmp_path, monkeypatch):
    """A folder named after a patient, as are its files; images of all kinds, some of them twice or damaged."""
    folder = tmp_path / "Smith_Jonathan"
    folder.mkdir()
    monkeypatch.chdir(folder)
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 8, 5), np.int16), AFFINE), "Smith.nii.gz")
    shutil.copy("Smith.nii.gz", "Smith_again.nii.gz")
    (folder / "Smith_raw.mhd").write_text("ObjectType = Image\nNDims = 3\nElementDataFile = Smith_raw.raw\n")
    write_series(folder / "series", prefix="Smith")
    shutil.copy("series/Smith0001.dcm", "series/Smith_copy.dcm")
    lost = write_series(folder / "gap", shape=(7, 5, 9), series_uid="1.2.3", series_number=4, prefix="Smith")
    for file in lost[4:6]:
        file.write_bytes(file.read_bytes()[:-8])
    return folder


def run(patient, sources):
    out = patient.parent / "out"
    predictor = segkit.Predictor(Bright(Slices()), precision="fp32")
    outcomes = predictor.predict_files(sources, out, report=True, pseudonymise=True)
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    return out, outcomes, lines


@pytest.mark.parametrize("absolute", [False, True])
def test_nothing_written_has_a_files_or_folders_name(patient, absolute):
    out, outcomes, lines = run(patient, patient if absolute else ".")
    assert sum(bool(outcome.paths) for outcome in outcomes) == 2
    for path in out.iterdir():
        assert "smith" not in path.name.lower()
        if path.suffix in (".json", ".jsonl", ".csv", ".html"):
            text = path.read_text().lower()
            assert "smith" not in text
            assert "jonathan" not in text
    assert len({line["input"] for line in lines}) == len(lines)


def test_what_is_said_can_still_be_read(patient):
    _, _, lines = run(patient, ".")
    said = {line["error"] for line in lines}
    of_gap = next(text for text in said if text and "step to the next slice" in text)
    assert "is 7.5 mm, that of the others 2.5 mm" in of_gap
    assert any(text and text.endswith("which isn't there; copy both") for text in said)


def test_an_image_that_is_there_twice_is_predicted_once(patient):
    _, outcomes, _ = run(patient, ["Smith.nii.gz", "Smith_again.nii.gz"])
    first, second = outcomes
    assert first.paths
    assert first.error is None
    assert second.skipped == "holds the same as another one of the images"
    assert second.error is None


def test_images_with_one_header_are_two_images(tmp_path):
    for name, value in (("one", 0), ("two", 900)):
        (tmp_path / "in" / name).mkdir(parents=True)
        image = SimpleITK.GetImageFromArray(np.full((5, 8, 9), value, np.int16))
        SimpleITK.WriteImage(image, str(tmp_path / "in" / name / "image.mhd"))
    sources = pseudonymised(expand(tmp_path / "in", tmp_path / "out"), tmp_path / "out")
    assert [source.found for source in sources] == [True, True]
    assert sources[0].alias != sources[1].alias


def test_words_and_numbers_stay_where_files_are_called_so(tmp_path):
    sources = [
        Source(tmp_path / name, tmp_path, name, alias=f"case_{number}") for number, name in enumerate(("a.nii", "5"))
    ]
    text = f"{tmp_path}/a.nii: a step of 2.5 mm, others 5 mm: a.img isn't there"
    assert NameHiding(sources).of(text) == "case_0: a step of 2.5 mm, others 5 mm: case_0.img isn't there"


def test_depth_is_found_by_the_names_that_are_not_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, value in (("in/x.png", 10), ("in/a/x.png", 20), ("depth/x.png", 1), ("depth/a/x.png", 2)):
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.full((32, 32), value, np.uint8))
    stem = {"name": "stem", "width": 4}
    model = segkit.Segmenter.create(stem, depth=stem, neck="unet", classes=2, depth_format=DepthFormat(unit="m"))
    predictor = segkit.Predictor(model)
    plain = predictor.predict_files("in", "plain", depth="depth")
    hidden = predictor.predict_files("in", "hidden", depth="depth", pseudonymise=True)
    assert [outcome.depth for outcome in hidden] == [outcome.depth for outcome in plain]
    assert {outcome.depth.as_posix() for outcome in hidden} == {"depth/x.png", "depth/a/x.png"}
