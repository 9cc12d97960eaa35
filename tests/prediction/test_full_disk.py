"""Masks of volumes where there is no room for them: one line, and nothing half written."""

from contextlib import contextmanager

import nibabel
import numpy as np
import pytest
import SimpleITK
from medical.dicom_files import write_series
from prediction.test_volumes import Bright

import segkit
from segkit.data.slices import Slices

resource = pytest.importorskip("resource", reason="files can't be kept small here")

ROOM = 12_000  # bytes: more than the manifest takes and the beginning of a mask, less than any mask below


@contextmanager
def little_room():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def scan(folder, suffix):
    """Noise, which nothing compresses."""
    values = np.random.default_rng(0).integers(0, 1001, (60, 50, 40)).astype(np.int16)
    path = folder / f"scan{suffix}"
    if suffix.startswith(".nii"):
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    elif suffix:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values.T), str(path))
    else:
        write_series(path, values)
    return path


@pytest.mark.parametrize(
    ("suffix", "mask", "why"),
    [
        (".nii", "scan_mask.nii", "(File too large)"),
        (".nii.gz", "scan_mask.nii.gz", "(File too large)"),
        (".nrrd", "scan_mask.nrrd", "([nrrd] "),
        (".mha", "scan_mask.mha", "(Reason: File too large)"),
        ("", "scan_s003_mask.dcm", "(File too large)"),
    ],
)
def test_a_mask_that_has_no_room_is_told_in_one_line(tmp_path, capfd, suffix, mask, why):
    path, out = scan(tmp_path, suffix), tmp_path / "out"
    predictor = segkit.Predictor(Bright(Slices()), precision="fp32")
    with little_room():
        [outcome] = predictor.predict_files(path, out)
    assert outcome.paths == ()
    assert outcome.error.startswith(f"{out / mask}: can't be written {why}")
    assert outcome.error.endswith("; choose another place")
    assert "\n" not in outcome.error
    assert [each.name for each in out.iterdir()] == ["manifest.jsonl"]
    assert capfd.readouterr() == ("", "")
