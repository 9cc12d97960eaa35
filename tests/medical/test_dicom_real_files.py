"""Files of other people's scanners and programs: each is read, or refused in one clear line."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array

from segkit.errors import DataError
from segkit.medical.dicom_series import find_series
from segkit.medical.dicom_volume import read_series

PACKAGED = Path(pydicom.__file__).parent / "data"
FILES = sorted(path for path in PACKAGED.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "dicom_mr_samples" / "images"

NO_DICOM = "no DICOM file"
DOSES = "a grid of radiation doses, not an image"
DIRECTORY = "a DICOMDIR, which only lists files: give the folder itself"
CT_WITHOUT = "CT Image Storage without an image: Rows or Columns is missing"
MR_WITHOUT = "MR Image Storage without an image: Rows or Columns is missing"
NO_PIXELS = "it holds no pixels; copy or export it again"
UNKNOWN = "damaged, or DICOM of a kind without images: Rows or Columns is missing"

LEFT_OUT = {
    **dict.fromkeys(("hashes.json", "urls.json", "test1.json", "test_PN.json", "README.md", "README"), NO_DICOM),
    **dict.fromkeys(("FileInfo.txt", "README.txt", "crayons.icc", "rtplan.dump", "rtstruct.dump"), NO_DICOM),
    **dict.fromkeys(("zipMR.gz", "no_meta.dcm"), NO_DICOM),
    **dict.fromkeys(("chrJapMulti.dcm", "chrJapMultiExplicitIR6.dcm", "chrKoreanMulti.dcm"), NO_PIXELS),
    **dict.fromkeys(("chrSQEncoding.dcm", "chrSQEncoding1.dcm", "priv_SQ.dcm"), MR_WITHOUT),
    "UN_sequence.dcm": CT_WITHOUT,
    **dict.fromkeys(("empty_charset_LEI.dcm", "meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm"), UNKNOWN),
    "no_meta_group_length.dcm": "RT Image Storage without an image: Rows or Columns is missing",
    **dict.fromkeys(("badVR.dcm", "rtdose.dcm", "rtdose_1frame.dcm", "rtdose_expb.dcm"), DOSES),
    **dict.fromkeys(("rtdose_expb_1frame.dcm", "rtdose_rle.dcm", "rtdose_rle_1frame.dcm"), DOSES),
    **dict.fromkeys(("liver_1frame.dcm", "liver_expb_1frame.dcm"), "a segmentation, not an image"),
    **dict.fromkeys(("reportsi.dcm", "reportsi_with_empty_number_tags.dcm"), "Basic Text SR Storage, not an image"),
    "test-SR.dcm": "Comprehensive SR Storage, not an image",
    "waveform_ecg.dcm": "12-lead ECG Waveform Storage, not an image",
    **dict.fromkeys(("rtplan.dcm", "rtplan_truncated.dcm"), "RT Plan Storage, not an image"),
    **dict.fromkeys(("ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm"), "RT Ion Plan Storage, not an image"),
    "rtstruct.dcm": "RT Structure Set Storage, not an image",
    **dict.fromkeys(("6293", "6924"), "a localizer: its ImageType says so"),
    "MR_truncated.dcm": "its pixels are cut short: 8,130 bytes of at least 8,192; copy or export it again",
}
"""By name, of the files that hold no image that could be segmented."""

REFUSED = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "its tags say 1,024 × 256 × 1 of 16 bits (rows, columns, samples), its "
    "compressed picture says 1,024 × 3,722,445,056 × 1 of 16 bits: it is damaged; export it again"
}
"""Of the files whose image is damaged."""

NOT_BY_PYDICOM = {"JPEG-lossy.dcm", "JPGExtended.dcm"}
"""Twelve bits of JPEG, for which pydicom has no decoder that may be given away with a program like this."""


def expected_reason(path):
    if path.name.startswith("DICOMDIR"):
        return DIRECTORY
    if path.parent.name == "palettes" and path.suffix == ".dcm":
        return "Color Palette Storage, not an image"
    if path.parent.name == "SE000000":
        return CT_WITHOUT
    return LEFT_OUT.get(path.name)


def by_pydicom(path):
    """Values [K, rows, columns, C] of all frames."""
    dataset = pydicom.dcmread(path, force=True)
    values = pixel_array(dataset)
    grey = dataset.SamplesPerPixel == 1
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values, grey = apply_color_lut(values, dataset) >> 8, False
    if grey:
        values = apply_modality_lut(values, dataset)
    shape = (-1, dataset.Rows, dataset.Columns, 1 if grey else 3)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        ends = np.array([0, 2**dataset.BitsStored - 1])
        values = apply_modality_lut(ends, dataset).sum() - values
    return values.reshape(shape)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_each_packaged_file_is_read_as_pydicom_reads_it_or_refused_in_one_line(path, capfd):
    found = find_series([path])
    reason = expected_reason(path)
    if reason is not None:
        assert found.series == ()
        assert [each.why for each in found.left_out] == [reason]
        assert capfd.readouterr() == ("", "")
        return
    assert found.left_out == ()
    (series,) = found.series
    assert series.refused is None
    if path.name in REFUSED:
        with pytest.raises(DataError) as raised:
            read_series(series)
        assert str(raised.value) == f"{path}: {REFUSED[path.name]}"
        assert capfd.readouterr() == ("", "")
        return
    volume = read_series(series)
    assert capfd.readouterr() == ("", "")
    if path.name in NOT_BY_PYDICOM:
        return
    expected = by_pydicom(path)
    found_values = volume.values.transpose(2, 1, 0, 3)
    assert found_values.shape == expected.shape
    if path.name == "693_J2KI.dcm":
        # 0.2 % are padding among the others by the loss of its compression; they stay as they are.
        assert volume.notes == ("0.188 % of its pixels are padding (PixelPaddingValue), nothing was measured there",)
    if volume.values.dtype == np.float32:
        assert np.allclose(found_values, expected, rtol=1e-6, atol=1e-3)
    else:
        assert np.array_equal(found_values, expected)


def test_twelve_bits_of_jpeg_are_close_to_the_same_picture_in_jpeg_2000(capfd):
    """Both files hold one picture, compressed with loss."""
    volumes = {}
    for name in ("JPEG-lossy.dcm", "JPEG2000.dcm"):
        (series,) = find_series(PACKAGED / "test_files" / name).series
        volumes[name] = read_series(series).values.astype(float)
    difference = np.abs(volumes["JPEG-lossy.dcm"] - volumes["JPEG2000.dcm"])
    assert difference.mean() < 5
    assert np.corrcoef(volumes["JPEG-lossy.dcm"].ravel(), volumes["JPEG2000.dcm"].ravel())[0, 1] > 0.95
    assert capfd.readouterr() == ("", "")


def test_all_packaged_files_in_one_folder_are_sorted_out(capfd):
    found = find_series(PACKAGED / "test_files" / "dicomdirtests")
    volumes = [series for series in found.series if series.refused is None]
    assert len(found.left_out) == 66
    assert {series.name: series.geometry.shape[2] for series in volumes if series.geometry.shape[2] > 1} == {
        "CT5N_s005": 5
    }
    (refused,) = (series for series in found.series if series.refused is not None)
    assert refused.name == "CT2_s002"
    assert "161 slices are missing there" in refused.refused
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples aren't here")
def test_the_samples_are_two_volumes_and_three_slices(capfd):
    found = find_series(SAMPLES)
    assert found.left_out == ()
    volumes = [read_series(series) for series in found.series]
    assert {volume.geometry.shape for volume in volumes} == {
        *((35, 51, 32), (36, 48, 35)),
        *((512, 512, 1), (280, 320, 1)),
    }
    assert len(volumes) == 5
    for volume in volumes:
        assert volume.located
        for k, path in enumerate(volume.files):
            assert np.array_equal(volume.values.transpose(2, 1, 0, 3)[k], by_pydicom(path)[0])
            place = pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient
            first = volume.geometry.points(np.array([[0, 0, k]]))[0]
            assert first == pytest.approx(np.array(place, float) * [-1, -1, 1], abs=1e-6)
    assert capfd.readouterr() == ("", "")
