import shutil
from itertools import pairwise

import numpy as np
import pydicom
import pytest
from medical.dicom_files import AXIAL, CORONAL, SAGITTAL, SECRETS, pattern, save, write_series
from pydicom.uid import (
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    VLWholeSlideMicroscopyImageStorage,
    generate_uid,
)

from segkit.errors import DataError
from segkit.medical.dicom_series import find_series
from segkit.medical.dicom_volume import read_series


def one(paths):
    found = find_series(paths)
    (series,) = found.series
    return series


def refusal(paths):
    series = one(paths)
    assert series.refused is not None
    assert series.geometry is None
    with pytest.raises(DataError) as raised:
        read_series(series)
    assert str(raised.value) == series.refused
    assert not any(secret in series.refused for secret in SECRETS)
    return series.refused


def reasons(found):
    return {each.path.name: each.why for each in found.left_out}


def header_cut(path, size):
    """The file's first bytes alone."""
    path.write_bytes(path.read_bytes()[:size])


def pixels_cut(path, missing=10):
    path.write_bytes(path.read_bytes()[:-missing])


@pytest.mark.parametrize("seed", range(5))
def test_files_are_sorted_by_place_whatever_they_are_called_and_numbered(tmp_path, seed):
    paths = write_series(tmp_path / "scan", shape=(4, 3, 12), shuffle=seed, orientation=CORONAL)
    assert paths != sorted(paths)
    series = one(tmp_path)
    assert series.files == tuple(paths)
    assert series.path == tmp_path / "scan"
    assert series.name == "scan_s003"
    assert series.modality == "MR"
    assert series.located
    assert series.spaced
    assert not series.burned_in
    assert series.notes == ()
    assert series.refused is None


def test_slices_rise_along_their_normal_whichever_way_the_series_was_acquired(tmp_path):
    up = one(write_series(tmp_path / "up", slice_step=3))
    down = one(write_series(tmp_path / "down", slice_step=-3))
    for series in (up, down):
        for before, after in pairwise(series.slices):
            assert (after.place.corner - before.place.corner) @ after.place.normal == pytest.approx(3)


def test_the_given_order_of_files_does_not_matter(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 9))
    assert one(reversed(paths)).files == one(paths).files == tuple(paths)
    assert find_series([paths[0], *paths, tmp_path]).series[0].files == tuple(paths)


def test_files_are_known_by_what_they_hold_not_by_their_names(tmp_path):
    write_series(tmp_path / "a", shape=(4, 3, 3), suffix="")
    write_series(tmp_path / "b", shape=(4, 3, 3), suffix=".png", study="another")
    (tmp_path / "a" / "picture.dcm").write_bytes(b"\x89PNG" + bytes(300))
    (tmp_path / "a" / "empty.dcm").touch()
    found = find_series(tmp_path)
    assert [series.name for series in found.series] == ["a_s003", "b_s003"]
    assert reasons(found) == {"picture.dcm": "no DICOM file", "empty.dcm": "the file is empty"}


def test_files_without_preamble_are_read_where_their_tags_make_sense(tmp_path):
    for path in write_series(tmp_path / "scan", shape=(4, 3, 3)):
        dataset = pydicom.dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(path, enforce_file_format=False, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[:2] == b"\x08\x00"
    (tmp_path / "scan" / "notes").write_bytes(b"\x08\x00" + bytes(range(200)))
    found = find_series(tmp_path)
    assert found.series[0].geometry.shape == (4, 3, 3)
    assert reasons(found).keys() == {"notes"}


def test_hidden_files_texts_and_directories_are_passed_over_silently_in_folders_alone(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 3))
    hidden = tmp_path / ".trash"
    hidden.mkdir()
    shutil.copy(paths[0], hidden / "IM.dcm")
    shutil.copy(paths[0], tmp_path / ".IM.dcm")
    (tmp_path / "readme.TXT").write_text("Knee")
    directory = pydicom.dcmread(paths[0])
    directory.SOPClassUID = "1.2.840.10008.1.3.10"
    save(directory, tmp_path / "DICOMDIR")
    found = find_series(tmp_path)
    assert len(found.series) == 1
    assert found.left_out == ()
    assert "give the folder itself" in find_series([tmp_path / "DICOMDIR"]).left_out[0].why
    assert find_series([tmp_path / "readme.TXT"]).left_out[0].why == "no DICOM file"


def test_what_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(DataError, match="nothing: no such file or folder"):
        find_series(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("sop_class", "why"),
    [
        (SegmentationStorage, "a segmentation, not an image"),
        (BasicTextSRStorage, "Basic Text SR Storage, not an image"),
        (VLWholeSlideMicroscopyImageStorage, "a whole slide in tiles, which is read from TIFF alone: convert it"),
        ("1.2.3.4.5", "damaged, or DICOM of a kind without images: Rows or Columns is missing"),
    ],
)
def test_objects_that_are_no_images_are_left_out(tmp_path, sop_class, why):
    def change(dataset, k):
        dataset.SOPClassUID = sop_class
        if sop_class in (BasicTextSRStorage, "1.2.3.4.5"):
            del dataset.Rows, dataset.PixelData

    write_series(tmp_path, shape=(4, 3, 1), change=change)
    found = find_series(tmp_path)
    assert found.series == ()
    assert [each.why for each in found.left_out] == [why]


def test_headers_without_pixels_are_left_out(tmp_path):
    def change(dataset, k):
        del dataset.PixelData

    path = write_series(tmp_path, shape=(4, 3, 1), change=change)[0]
    assert reasons(find_series(path)) == {path.name: "it holds no pixels; copy or export it again"}
    path = write_series(tmp_path, shape=(4, 3, 1), Rows=None)[0]
    assert reasons(find_series(path)) == {path.name: "MR Image Storage without an image: Rows or Columns is missing"}


def test_damaged_headers_are_left_out_in_one_line_that_quotes_nothing(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 1), NumberOfFrames=91919191)
    paths[0].write_bytes(paths[0].read_bytes().replace(b"91919191", b"Quennell"))
    assert reasons(find_series(paths)) == {
        paths[0].name: "NumberOfFrames (0028,0008) is not a number; export the file again"
    }
    for size in (1, 131, 132, 140, 200, 400, 700):
        paths = write_series(tmp_path, shape=(4, 3, 1))
        header_cut(paths[0], size)
        (left_out,) = find_series(paths).left_out
        assert "\n" not in left_out.why
        assert not any(secret in str(left_out) for secret in SECRETS)


def test_three_series_of_two_studies_in_one_folder_are_told_apart(tmp_path):
    write_series(tmp_path, shape=(4, 3, 3), series_number=1, prefix="X", shuffle=1)
    write_series(tmp_path, shape=(5, 3, 4), series_number=2, prefix="Y", shuffle=2, modality="CT")
    write_series(tmp_path, shape=(6, 3, 5), series_number=1, prefix="Z", shuffle=3, study="another")
    found = find_series(tmp_path)
    shapes = {series.geometry.shape: series for series in found.series}
    assert shapes.keys() == {(4, 3, 3), (5, 3, 4), (6, 3, 5)}
    assert shapes[5, 3, 4].name == f"{tmp_path.name}_s002"
    twins = shapes[4, 3, 3].name, shapes[6, 3, 5].name
    assert twins[0] != twins[1]
    for name in twins:
        assert name.startswith(f"{tmp_path.name}_s001_")
        assert len(name) == len(f"{tmp_path.name}_s001_") + 8
    assert [series.name for series in find_series(tmp_path).series] == [series.name for series in found.series]


def test_names_come_from_files_and_folders_and_are_safe_as_names_of_files(tmp_path):
    assert one(write_series(tmp_path / "a b&c", shape=(4, 3, 3))).name == "a_b_c_s003"
    assert one(write_series(tmp_path / "x", shape=(4, 3, 1), prefix="1.2.", suffix="")).name == "1.2.0001_s003"
    assert one(write_series(tmp_path / "y", shape=(4, 3, 1), suffix=".DCM")).name == "IM0001_s003"
    assert one(write_series(tmp_path / "z", shape=(4, 3, 2), SeriesNumber=None)).name == "z"


def test_localizers_are_left_out(tmp_path):
    write_series(tmp_path, shape=(4, 3, 3), series_number=1)
    image_type = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write_series(tmp_path, shape=(4, 3, 2), series_number=2, prefix="LO", ImageType=image_type)
    found = find_series(tmp_path)
    assert len(found.series) == 1
    assert set(reasons(found).items()) == {
        (name, "a localizer: its ImageType says so") for name in ("LO0001.dcm", "LO0002.dcm")
    }


def test_slices_turned_against_the_others_of_their_series_are_left_out(tmp_path):
    uid = generate_uid()
    paths = write_series(tmp_path, shape=(4, 3, 5), series_uid=uid)
    turned = write_series(
        tmp_path, shape=(4, 3, 1), series_uid=uid, prefix="SC", orientation=SAGITTAL, SOPInstanceUID=generate_uid()
    )
    found = find_series(tmp_path)
    assert found.series[0].files == tuple(paths)
    assert reasons(found) == {turned[0].name: "a localizer, it seems: turned against 5 images of its series"}


def test_a_series_of_three_orientations_is_a_localizer(tmp_path):
    uid = generate_uid()
    for number, orientation in enumerate((AXIAL, CORONAL, SAGITTAL)):

        def change(dataset, k, number=number):
            dataset.SOPInstanceUID = generate_uid(entropy_srcs=[uid, str(number), str(k)])

        write_series(
            tmp_path, shape=(4, 3, 2), series_uid=uid, prefix=f"L{number}", orientation=orientation, change=change
        )
    found = find_series(tmp_path)
    assert found.series == ()
    assert len(found.left_out) == 6
    assert "its series shows 3 orientations, none of them most often" in found.left_out[0].why


def test_copies_count_once(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 3))
    copy = tmp_path / "later" / "copy.dcm"
    copy.parent.mkdir()
    shutil.copy(paths[1], copy)
    found = find_series(tmp_path)
    assert found.series[0].files == tuple(paths)
    assert reasons(found) == {"copy.dcm": f"a copy of {paths[1]}"}


def test_two_images_under_one_identity_are_refused(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 3))
    dataset = pydicom.dcmread(paths[1])
    dataset.ImagePositionPatient = [0, 0, 100]
    save(dataset, tmp_path / "other.dcm")
    assert refusal(tmp_path) == (
        f"{tmp_path / 'other.dcm'}: another image than {paths[1]}, under the same SOPInstanceUID; keep one of the two"
    )


def test_a_missing_slice_is_an_error_that_says_where(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 8), slice_step=2.5, origin=(0, 0, 10))
    paths[3].unlink()
    assert refusal(tmp_path) == (
        f"{paths[2]}: the step to the next slice, {paths[4].name}, is 5 mm, that of the others 2.5 mm (from 15.00 to "
        "20.00 mm along their normal): 1 slice is missing there; export the series again, whole"
    )
    paths[5].unlink()
    paths[6].unlink()
    assert "7.5 mm, that of the others 2.5 mm" in refusal(tmp_path)
    assert "2 slices are missing there" in refusal(tmp_path)


@pytest.mark.parametrize(("off", "fine"), [(0.009, True), (0.02, True), (0.06, False), (0.3, False)])
def test_slices_may_lie_a_hundredth_of_a_step_off(tmp_path, off, fine):
    def change(dataset, k):
        dataset.ImagePositionPatient[2] += off * (k == 3)

    write_series(tmp_path, shape=(4, 3, 7), slice_step=3, change=change)
    if fine:
        assert one(tmp_path).refused is None
    else:
        assert "they lie unevenly" in refusal(tmp_path)


def test_a_slice_shifted_sideways_is_refused(tmp_path):
    def change(dataset, k):
        dataset.ImagePositionPatient[0] += k == 2

    write_series(tmp_path, shape=(4, 3, 5), change=change)
    assert "they lie unevenly" in refusal(tmp_path)


def test_steps_that_drift_are_refused(tmp_path):
    def change(dataset, k):
        dataset.ImagePositionPatient = [0, 0, round(3 * k + 0.00046 * (k - 30) ** 2, 6)]

    paths = write_series(tmp_path, shape=(2, 2, 61), change=change)
    assert refusal(tmp_path) == (
        f"{paths[30]}: its series' steps drift: it is 0.414 mm from where equal steps of 3 mm would put it; export the "
        "series again"
    )


def test_a_damaged_slice_between_others_is_an_error_and_at_the_end_a_note(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 3))
    pixels_cut(paths[1])
    found = find_series(tmp_path)
    why = "its pixels are cut short: 14 bytes of at least 24; copy or export it again"
    assert reasons(found) == {paths[1].name: why}
    assert refusal(tmp_path) == (
        f"{paths[1]}: its series lacks this slice, at 14.50 mm along the normal, between others: {why}"
    )

    paths = write_series(tmp_path, shape=(4, 3, 3))
    pixels_cut(paths[2])
    series = one(tmp_path)
    assert series.files == tuple(paths[:2])
    assert series.notes == ("slices at its ends that can't be read: 1",)


def test_a_damaged_slice_that_is_there_a_second_time_is_missed_nowhere(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 3))
    shutil.copy(paths[1], tmp_path / "again.dcm")
    pixels_cut(paths[1])
    found = find_series(tmp_path)
    assert found.series[0].refused is None
    assert found.series[0].notes == ()
    assert reasons(found).keys() == {paths[1].name}


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
@pytest.mark.parametrize("modality", ["MR", "CT", "PT"])
def test_a_missing_tag_of_place_is_an_error_that_names_it(tmp_path, keyword, modality):
    def change(dataset, k):
        if k == 2:
            del dataset[keyword]

    paths = write_series(tmp_path, shape=(4, 3, 4), modality=modality, change=change)
    message = refusal(tmp_path)
    assert message.startswith(f"{paths[2]}: {keyword} (0")
    assert message.endswith(
        "is missing: where the slice is in the patient isn't known, and won't be made up; export the series again "
        "with it"
    )


def test_a_missing_tag_of_a_frame_names_the_frame(tmp_path):
    def change(dataset, k):
        del dataset.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence

    paths = write_series(tmp_path, multiframe=True, change=change)
    assert refusal(tmp_path).startswith(f"{paths[0]}, frame 3: ImagePositionPatient (0020,0032) is missing")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PixelSpacing": [0, 1]}, r"PixelSpacing (0028,0030) is not above 0; export the series again"),
        ({"PixelSpacing": [1]}, "PixelSpacing (0028,0030) is not 2 numbers; export the file again"),
        ({"ImagePositionPatient": [0, 1]}, "ImagePositionPatient (0020,0032) is not 3 numbers; export the file again"),
        (
            {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
            "ImageOrientationPatient (0020,0037) is not two unit vectors at a right angle; export the series again",
        ),
        (
            {"ImageOrientationPatient": [0, 0, 0, 0, 1, 0]},
            "ImageOrientationPatient (0020,0037) is not two unit vectors at a right angle; export the series again",
        ),
        ({"PixelSpacing": [1e-200, 1e-200]}, "spacings or positions that make no grid; export the series again"),
    ],
)
def test_tags_that_make_no_sense_are_refused(tmp_path, tags, message):
    paths = write_series(tmp_path, shape=(4, 3, 1), **tags)
    assert refusal(tmp_path) == f"{paths[0]}: {message}"


def test_mosaics_are_refused(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 1), ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    assert refusal(tmp_path) == (
        f"{paths[0]}: a mosaic, which shows many slices as tiles of one picture and isn't read here; convert it to "
        "NIfTI (with dcm2niix, for example)"
    )


def test_sizes_of_one_series_are_volumes_of_their_own(tmp_path):
    uid = generate_uid()

    def change(dataset, k):
        dataset.SOPInstanceUID = generate_uid()

    write_series(tmp_path / "s", shape=(4, 3, 5), series_uid=uid, change=change)
    write_series(tmp_path / "s", shape=(6, 6, 3), series_uid=uid, prefix="B", change=change, spacing=(2, 2))
    series = find_series(tmp_path).series
    assert {each.name: each.geometry.shape for each in series} == {"s_s003_v1": (4, 3, 5), "s_s003_v2": (6, 6, 3)}
    assert series[0].notes == ("its series holds images of 2 sizes or spacings, each of them a volume",)


def write_times(folder, count, change, *, multiframe=False):
    """A series that shows each place ``count`` times; ``change`` gets the data set, k, and which time."""
    uid = generate_uid()
    for time in range(count):

        def both(dataset, k, time=time):
            dataset.SOPInstanceUID = generate_uid(entropy_srcs=[uid, str(time), str(k)])
            change(dataset, k, time)

        write_series(folder, shape=(4, 3, 5), series_uid=uid, prefix=f"T{time}", shuffle=time, change=both)


@pytest.mark.parametrize(
    ("keyword", "values", "told"),
    [
        ("EchoTime", [4.6, 2.3], [" (here EchoTime 2.3)", " (here EchoTime 4.6)"]),
        ("TemporalPositionIdentifier", [1, 2, 3], [f" (here TemporalPositionIdentifier {n})" for n in (1, 2, 3)]),
        ("DiffusionBValue", [None, 1000.0], ["", " (here DiffusionBValue 1000)"]),
        ("AcquisitionNumber", [2, 7], [" (here AcquisitionNumber 2)", " (here AcquisitionNumber 7)"]),
        ("ImageType", [["DERIVED", "PRIMARY", "W"], ["DERIVED", "PRIMARY", "F"]], ["", ""]),
    ],
)
def test_places_shown_several_times_become_volumes_by_the_tag_that_differs(tmp_path, keyword, values, told):
    def change(dataset, k, time):
        if values[time] is not None:
            setattr(dataset, keyword, values[time])

    write_times(tmp_path / "s", len(values), change)
    series = find_series(tmp_path).series
    assert [each.name for each in series] == [f"s_s003_v{n + 1}" for n in range(len(values))]
    order = sorted(range(len(values)), key=lambda n: (values[n] is not None, values[n]))
    for number, each in enumerate(series, start=1):
        assert each.refused is None
        assert each.geometry.shape == (4, 3, 5)
        assert {path.name[:2] for path in each.files} == {f"T{order[number - 1]}"}
        assert each.notes == (
            f"number {number} of {len(values)} volumes in its series, which differ by {keyword}{told[number - 1]}",
        )


def test_two_tags_together_tell_volumes_apart(tmp_path):
    def change(dataset, k, time):
        dataset.EchoTime = [2.3, 4.6][time % 2]
        dataset.TemporalPositionIdentifier = time // 2 + 1

    write_times(tmp_path / "s", 6, change)
    series = find_series(tmp_path).series
    assert len(series) == 6
    assert series[3].notes == (
        "number 4 of 6 volumes in its series, which differ by EchoTime and TemporalPositionIdentifier (here EchoTime "
        "4.6, TemporalPositionIdentifier 1)",
    )


def test_a_tag_that_differs_from_slice_to_slice_tells_no_volumes_apart(tmp_path):
    def change(dataset, k, time):
        dataset.AcquisitionTime = f"1015{time}{k}"

    write_times(tmp_path / "s", 2, change)
    assert refusal(tmp_path).endswith(
        "its series shows 5 places with 10 images, and no tag (EchoTime, DiffusionBValue, AcquisitionNumber and others "
        "are looked at) tells them apart: put the images of each volume into a folder of their own, under a "
        "SeriesInstanceUID of their own"
    )


def test_a_slice_that_is_there_twice_is_named(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 5))
    dataset = pydicom.dcmread(paths[2])
    dataset.SOPInstanceUID = generate_uid()
    save(dataset, tmp_path / "again.dcm")
    assert refusal(tmp_path) == (
        f"{tmp_path / 'again.dcm'}: lies at the same place as {paths[2].name}; its series shows 5 places with 6 "
        "images, and no tag (EchoTime, DiffusionBValue, AcquisitionNumber and others are looked at) tells them apart: "
        "keep one image of each place, or give each volume's images a SeriesInstanceUID of their own"
    )


def test_frames_of_one_file_are_taken_apart_too(tmp_path):
    def change(dataset, k):
        frames = dataset.PerFrameFunctionalGroupsSequence
        for number, frame in enumerate(frames):
            frame.MRDiffusionSequence = [pydicom.Dataset()]
            frame.MRDiffusionSequence[0].DiffusionBValue = [0.0, 800.0][number % 2]
            frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, number // 2]

    (path,) = write_series(tmp_path, shape=(4, 3, 8), multiframe=True, change=change)
    first, second = find_series(tmp_path).series
    assert [each.frame for each in first.slices] == [0, 2, 4, 6]
    assert [each.frame for each in second.slices] == [1, 3, 5, 7]
    assert first.files == second.files == (path,)
    assert second.notes[0].endswith("which differ by DiffusionBValue (here DiffusionBValue 800)")


def test_pictures_without_a_place_stand_alone_and_nothing_is_made_up_for_them(tmp_path):
    def change(dataset, k):
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient

    write_series(tmp_path, shape=(4, 3, 2), modality="CR", change=change, spacing=(0.2, 0.3))
    series = find_series(tmp_path).series
    assert [each.name for each in series] == ["IM0001_s003", "IM0002_s003"]
    for each in series:
        assert not each.located
        assert each.spaced
        assert each.geometry.affine.tolist() == np.diag([-0.2, -0.3, 1, 1]).tolist()
        assert each.notes == ("the file doesn't say where it is in the patient",)


def region(units=3):
    dataset = pydicom.Dataset()
    dataset.PhysicalUnitsXDirection = dataset.PhysicalUnitsYDirection = units
    dataset.PhysicalDeltaX, dataset.PhysicalDeltaY = 0.02, -0.03
    return dataset


@pytest.mark.parametrize(
    ("tags", "spacing", "note"),
    [
        ({"ImagerPixelSpacing": [0.3, 0.2]}, (0.2, 0.3), "distances are those on the detector"),
        ({"NominalScannedPixelSpacing": [0.3, 0.2]}, (0.2, 0.3), "distances are those on the scanned film"),
        ({"SequenceOfUltrasoundRegions": [region()]}, (0.2, 0.3), "those of the ultrasound region"),
        ({"SequenceOfUltrasoundRegions": [region(4)]}, None, "lengths are in pixels"),
        ({"SequenceOfUltrasoundRegions": [region(), region()]}, None, "lengths are in pixels"),
        ({}, None, "the file doesn't say how large its pixels are: lengths are in pixels"),
    ],
)
def test_a_pictures_spacing_is_noted_or_unknown(tmp_path, tags, spacing, note):
    without = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    series = one(write_series(tmp_path, shape=(4, 3, 1), modality="US", **without, **tags))
    assert series.spaced == (spacing is not None)
    assert series.geometry.spacing[:2] == pytest.approx(spacing or (1, 1))
    assert note in series.notes[-1]


def test_secondary_captures_of_a_ct_are_pictures_apart_from_its_slices(tmp_path):
    uid = generate_uid()
    write_series(tmp_path, shape=(4, 3, 3), modality="CT", series_uid=uid)

    def change(dataset, k):
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.SOPInstanceUID = generate_uid()
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient

    write_series(tmp_path, shape=(9, 9, 1), modality="CT", series_uid=uid, prefix="DOSE", change=change)
    picture, slices = sorted(find_series(tmp_path).series, key=lambda each: each.located)
    assert picture.files[0].name == "DOSE0001.dcm"
    assert picture.burned_in
    assert slices.geometry.shape == (4, 3, 3)
    assert not slices.burned_in


@pytest.mark.parametrize(
    ("modality", "tags", "burned_in"),
    [
        ("MR", {}, False),
        ("MR", {"BurnedInAnnotation": "NO"}, False),
        ("MR", {"BurnedInAnnotation": "YES"}, True),
        ("CR", {}, False),
        ("CR", {"ConversionType": "DF"}, True),
        ("US", {}, True),
        ("US", {"BurnedInAnnotation": "NO"}, False),
        ("OT", {}, True),
    ],
)
def test_where_texts_may_be_in_the_picture_is_said(tmp_path, modality, tags, burned_in):
    assert one(write_series(tmp_path, shape=(4, 3, 1), modality=modality, **tags)).burned_in == burned_in


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_headers_are_read_in_every_encoding(tmp_path, syntax):
    write_series(tmp_path, shape=(4, 3, 3), transfer_syntax=syntax)
    assert one(tmp_path).geometry.shape == (4, 3, 3)


def test_a_file_that_inflates_beyond_the_limit_is_left_out(tmp_path):
    values = np.zeros((400, 400, 1), np.int16)
    (path,) = write_series(tmp_path, values, transfer_syntax=DeflatedExplicitVRLittleEndian)
    assert path.stat().st_size < 4096
    assert find_series(path, limit=1 << 20).series[0].geometry.shape == (400, 400, 1)
    assert find_series(path, limit=1 << 18).left_out[0].why.startswith("it inflates to more than the limit of 0.0 GiB")


def test_nothing_of_a_patient_is_in_names_and_notes(tmp_path, capfd):
    write_series(tmp_path / "a", shape=(4, 3, 5))
    write_series(tmp_path / "b", shape=(4, 3, 2), modality="OT", study="another", PixelSpacing=None)
    found = find_series(tmp_path)
    for series in found.series:
        said = " ".join((series.name, series.modality, *series.notes, *read_series(series).notes))
        assert not any(secret in said for secret in SECRETS)
    assert capfd.readouterr() == ("", "")


def test_a_study_of_three_series_with_a_corrupt_file_and_a_localizer(tmp_path):
    study = tmp_path / "study"
    shapes = {1: (8, 7, 5), 2: (6, 9, 4), 3: (5, 5, 6)}
    orientations = {1: AXIAL, 2: CORONAL, 3: SAGITTAL}
    values = {number: pattern(shape, seed=number) for number, shape in shapes.items()}
    for number in shapes:
        options = {"series_number": number, "orientation": orientations[number], "prefix": f"S{number}", "shuffle": 9}
        write_series(study, values[number], **options)
    write_series(study, shape=(9, 9, 1), series_number=9, prefix="L", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (study / "S3x.dcm").write_bytes(bytes(128) + b"DICM" + bytes(range(256)) * 4)
    found = find_series(study)
    assert {series.name for series in found.series} == {"study_s001", "study_s002", "study_s003"}
    for series in found.series:
        volume = read_series(series)
        assert np.array_equal(volume.values[..., 0], values[int(series.name[-1])])
        assert volume.notes == ()
    assert [f"{each.path.name}: {each.why}" for each in found.left_out] == [
        "L0001.dcm: a localizer: its ImageType says so",
        "S3x.dcm: damaged, or DICOM of a kind without images: Rows or Columns is missing",
    ]
