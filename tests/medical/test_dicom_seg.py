"""Segmentation objects land where the images are, as highdicom, pydicom and we read them."""

from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
from medical.dicom_files import AXIAL, CORONAL, SAGITTAL, SECRETS, write_series
from pydicom.uid import UltrasoundMultiFrameImageStorage, generate_uid

from segkit.data.geometry import Geometry
from segkit.data.volume import Volume
from segkit.errors import DataError, UsageError
from segkit.medical.dicom_frames import Frame, datasets_of
from segkit.medical.dicom_seg_read import read_seg
from segkit.medical.dicom_seg_write import why_no_seg, write_seg
from segkit.medical.dicom_series import find_series
from segkit.medical.dicom_volume import read_series

SHAPE = (7, 5, 6)
SPACING, ORIGIN = (0.8, 1.1), np.array([-20.5, -31.25, 12.0])
TURNED = np.array([[0.8, 0.6, 0.0], [-0.36, 0.48, -0.8]]).round(12)  # oblique in all three
ACQUISITIONS = {
    "axial, head first": (AXIAL, 2.5, "HFS"),
    "axial, slices from the top down": (AXIAL, -2.5, "HFS"),
    "axial, feet first": ((-1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 2.5, "FFS"),
    "axial, prone": ((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 4.0, "HFP"),
    "coronal": (CORONAL, 3.0, "HFS"),
    "sagittal": (SAGITTAL, -0.5, "HFS"),
    "oblique, feet first": (tuple(TURNED.ravel()), 2.5, "FFS"),
}
MODEL = {"model_name": "hippocampus", "model_digest": "0123456789abcdef"}
THREE = {"classes": ["background", "liver", "tumour"], "task": "multiclass", "background": 0, **MODEL}
TWO = {"classes": ["background", "vessel"], "task": "binary", "background": 0, **MODEL}


def read(folder):
    (series,) = find_series(folder).series
    return read_series(series)


def volume_of(folder, **options):
    write_series(folder, **{"shape": SHAPE, "spacing": SPACING, "origin": ORIGIN, "slice_step": 2.5, **options})
    return read(folder)


def some_labels(shape=SHAPE, classes=3, seed=0):
    """Class ids that differ under every mirroring and turn; nothing on the second slice."""
    labels = np.random.default_rng(seed).integers(0, classes, shape).astype(np.uint8)
    if shape[2] > 1:
        labels[:, :, 1] = 0
    return labels


def places_in_seg(path, segment):
    """Millimetres (LPS+) of the marked pixels' centres, by pydicom and the frames' own tags alone."""
    seg = pydicom.dcmread(path)
    shared = seg.SharedFunctionalGroupsSequence[0]
    across, down = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = (float(number) for number in shared.PixelMeasuresSequence[0].PixelSpacing)
    places = []
    for pixels, groups in zip(
        seg.pixel_array.reshape(-1, seg.Rows, seg.Columns), seg.PerFrameFunctionalGroupsSequence, strict=True
    ):
        identification = groups.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
        if identification[0].ReferencedSegmentNumber == segment:
            corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
            places += [
                corner + column * between_columns * across + row * between_rows * down
                for row, column in np.argwhere(pixels)
            ]
    return np.array(places)


def in_order(points):
    return np.array(sorted(map(tuple, np.asarray(points).round(6))))


@pytest.mark.parametrize("multiframe", [False, True], ids=["files", "one file"])
@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_a_mask_drawn_at_known_places_comes_back_there(tmp_path, acquisition, multiframe):
    orientation, step, position = ACQUISITIONS[acquisition]
    across, down = np.array(orientation).reshape(2, 3)
    drawn = np.random.default_rng(5).random(SHAPE) < 0.15
    drawn[:, :, 2] = False
    paths = write_series(
        tmp_path / "images",
        np.where(drawn, 1000, 0).astype(np.int16),
        spacing=SPACING,
        orientation=orientation,
        origin=ORIGIN,
        slice_step=step,
        patient_position=position,
        shuffle=3,
        multiframe=multiframe,
    )
    normal = np.cross(across, down)
    known = [
        ORIGIN + i * SPACING[0] * across + j * SPACING[1] * down + k * step * normal for i, j, k in np.argwhere(drawn)
    ]

    volume = read(tmp_path / "images")
    labels = (volume.values[..., 0] > 500).astype(np.uint8)
    write_seg(tmp_path / "seg.dcm", labels, volume, **TWO)

    apart = np.linalg.norm(in_order(places_in_seg(tmp_path / "seg.dcm", 1)) - in_order(known), axis=1)
    assert apart.max() < 1e-3  # of a millimetre

    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    grid = seg.get_volume(combine_segments=True)
    by_highdicom = grid.map_indices_to_reference(np.argwhere(grid.array))
    assert np.linalg.norm(in_order(by_highdicom) - in_order(known), axis=1).max() < 1e-3

    if multiframe:
        source = pydicom.dcmread(paths[0])
        pixels, frames = source.pixel_array, range(1, source.NumberOfFrames + 1)
        found = seg.get_pixels_by_source_frame(source.SOPInstanceUID, frames, assert_missing_frames_are_empty=True)
    else:
        sources = [pydicom.dcmread(path) for path in paths]
        pixels = np.stack([each.pixel_array for each in sources])
        found = seg.get_pixels_by_source_instance(
            [each.SOPInstanceUID for each in sources], assert_missing_frames_are_empty=True
        )
    np.testing.assert_array_equal(found[..., 0], pixels > 500)

    masks = read_seg(tmp_path / "seg.dcm", volume)
    np.testing.assert_array_equal(masks.labels, labels)
    assert masks.names == ("background", "vessel")


def test_frames_lie_on_the_slices_that_they_name(tmp_path):
    volume = volume_of(tmp_path / "images", shuffle=1, orientation=SAGITTAL)
    write_seg(tmp_path / "seg.dcm", some_labels(), volume, **THREE)
    positions = {each.SOPInstanceUID: each.ImagePositionPatient for each in datasets_of(volume)}
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert len(seg.PerFrameFunctionalGroupsSequence) == 2 * 5  # two segments; the second slice is empty
    for groups in seg.PerFrameFunctionalGroupsSequence:
        (derivation,) = groups.DerivationImageSequence
        (source,) = derivation.SourceImageSequence
        assert groups.PlanePositionSequence[0].ImagePositionPatient == positions[source.ReferencedSOPInstanceUID]
        assert source.ReferencedSOPClassUID == datasets_of(volume)[0].SOPClassUID
        assert source.SpatialLocationsPreserved == "YES"
    referenced = [item.ReferencedSOPInstanceUID for item in seg.SourceImageSequence]
    assert referenced == [each.SOPInstanceUID for each in datasets_of(volume)]
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == datasets_of(volume)[0].SeriesInstanceUID
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == referenced
    assert seg.FrameOfReferenceUID == datasets_of(volume)[0].FrameOfReferenceUID


@pytest.mark.parametrize("shape", [(8, 1, 1), (7, 5, 1), (3, 3, 2), (16, 8, 3), (17, 9, 4)], ids=str)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_labels_of_any_size_come_back(tmp_path, shape, task):
    volume = volume_of(tmp_path / "images", shape=shape)
    options = {**(TWO if task == "binary" else THREE), "task": task}
    labels = some_labels(shape, 2 if task == "binary" else 3)
    if task == "multilabel":
        options |= {"classes": ["lung", "nodule"], "background": None}
        labels = some_labels((2, *shape), 2)
    write_seg(tmp_path / "seg.dcm", labels, volume, **options)
    masks = read_seg(tmp_path / "seg.dcm", volume, options["classes"], task=task, background=options["background"])
    np.testing.assert_array_equal(masks.labels, labels)
    assert list(masks.names) == options["classes"]


def test_overlapping_classes_are_kept_apart_or_refused(tmp_path):
    volume = volume_of(tmp_path / "images")
    labels = np.zeros((2, *SHAPE), np.uint8)
    labels[0, 1:5, 1:4, 1:4] = labels[1, 3:6, 2:, 2] = 1
    write_seg(tmp_path / "seg.dcm", labels, volume, classes=["liver", "lesion"], task="multilabel", **MODEL)
    masks = read_seg(tmp_path / "seg.dcm", volume, task="multilabel")
    np.testing.assert_array_equal(masks.labels, labels)
    assert masks.names == ("liver", "lesion")
    assert pydicom.dcmread(tmp_path / "seg.dcm").SegmentsOverlap == "YES"
    with pytest.raises(DataError, match=r"seg\.dcm: segments 'liver' and 'lesion' overlap; make the task multilabel"):
        read_seg(tmp_path / "seg.dcm", volume)


def test_nothing_found_is_an_object_too(tmp_path):
    volume, labels = volume_of(tmp_path / "images"), np.zeros(SHAPE, np.uint8)
    for probabilities in (None, np.full((3, *SHAPE), 0.001, np.float32)):
        write_seg(tmp_path / "seg.dcm", labels, volume, probabilities=probabilities, **THREE)
        assert not highdicom.seg.segread(tmp_path / "seg.dcm").pixel_array.any()
        masks = read_seg(tmp_path / "seg.dcm", volume)
        assert not masks.labels.any()
        assert masks.names == ("background", "liver", "tumour")


def test_without_a_background_class_unmarked_voxels_have_none(tmp_path):
    volume = volume_of(tmp_path / "images")
    labels = some_labels()
    write_seg(tmp_path / "seg.dcm", labels, volume, classes=["air", "lung", "bone"], task="multiclass", **MODEL)
    assert [each.SegmentLabel for each in pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence] == [
        "air",
        "lung",
        "bone",
    ]
    given = {"classes": ["bone", "fat", "lung", "air"], "background": None}
    np.testing.assert_array_equal(
        read_seg(tmp_path / "seg.dcm", volume, **given).labels, np.array([3, 2, 0], np.uint8)[labels]
    )
    write_seg(tmp_path / "two.dcm", labels, volume, **THREE)
    found = read_seg(tmp_path / "two.dcm", volume, ["tumour", "liver"], background=None).labels
    np.testing.assert_array_equal(found, np.array([255, 1, 0], np.uint8)[labels])


@pytest.mark.parametrize("multiframe", [False, True], ids=["files", "one file"])
def test_probabilities_come_back_within_half_a_step(tmp_path, multiframe):
    volume = volume_of(tmp_path / "images", multiframe=multiframe, shuffle=2)
    scores = np.random.default_rng(2).random((3, *SHAPE), dtype=np.float32) ** 3
    probabilities = scores / scores.sum(axis=0)
    labels = probabilities.argmax(axis=0).astype(np.uint8)
    write_seg(tmp_path / "seg.dcm", labels, volume, probabilities=probabilities, **THREE)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert (seg.SegmentationType, seg.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert seg.MaximumFractionalValue == 255
    positions = in_order(np.array([g.PlanePositionSequence[0].ImagePositionPatient for g in frames_of(seg, 1)], float))
    assert len(positions) == SHAPE[2]
    if multiframe:
        order = np.argsort(
            [g.PlanePositionSequence[0].ImagePositionPatient[2] for g in frames_of(datasets_of(volume)[0])]
        )
        found = seg.get_pixels_by_source_frame(datasets_of(volume)[0].SOPInstanceUID, [int(n) + 1 for n in order])
    else:
        found = seg.get_pixels_by_source_instance([each.SOPInstanceUID for each in datasets_of(volume)])
    assert np.abs(found.transpose(3, 2, 1, 0) - probabilities[1:]).max() <= 0.5 / 255 + 1e-6
    marked = read_seg(tmp_path / "seg.dcm", volume, task="multilabel").labels
    np.testing.assert_array_equal(marked, np.rint(probabilities[1:] * 255) >= 127.5)

    one = np.array([0.0, 0.5, 1.0, 0.4999], np.float32)[np.arange(7 * 5 * 6).reshape(1, *SHAPE) % 4]
    write_seg(tmp_path / "one.dcm", labels, volume, probabilities=one, **TWO)
    np.testing.assert_array_equal(read_seg(tmp_path / "one.dcm", volume, task="binary").labels, one[0] >= 0.5)


def frames_of(dataset, segment=None):
    return [
        groups
        for groups in dataset.PerFrameFunctionalGroupsSequence
        if segment is None or groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment
    ]


def test_a_rerun_is_byte_equal_and_other_masks_are_another_object(tmp_path):
    options = {"colours": np.array([[0, 0, 0], [230, 159, 0], [86, 180, 233]], np.uint8), "members": 3}
    images = {"series_uid": generate_uid(entropy_srcs=["one"]), "study": "one"}
    volume = volume_of(tmp_path / "images", **images)
    again = volume_of(tmp_path / "again", shuffle=4, change=renumber, **images)
    other = volume_of(tmp_path / "other", study="another")
    labels = some_labels()
    changed = labels.copy()
    changed[0, 0, 0] = 1 - min(changed[0, 0, 0], 1)
    write_seg(tmp_path / "a.dcm", labels, volume, **THREE, **options)
    write_seg(tmp_path / "b.dcm", labels, again, **THREE, **options)
    write_seg(tmp_path / "c.dcm", changed, volume, **THREE, **options)
    write_seg(tmp_path / "d.dcm", labels, other, **THREE, **options)
    write_seg(tmp_path / "e.dcm", labels, volume, **{**THREE, "model_digest": "f"}, **options)
    write_seg(tmp_path / "f.dcm", labels, volume, **{**THREE, "classes": ["background", "liver", "cyst"]}, **options)
    write_seg(tmp_path / "g.dcm", labels, volume, **THREE)
    probabilities = np.eye(3, dtype=np.float32)[labels].transpose(3, 0, 1, 2)
    write_seg(tmp_path / "h.dcm", labels, volume, probabilities=probabilities, **THREE, **options)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    objects = [pydicom.dcmread(tmp_path / f"{name}.dcm") for name in "acdefgh"]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        uids = {each[keyword].value for each in objects}
        assert len(uids) == len(objects)
        assert all(uid.startswith("2.25.") and uid.is_valid and len(uid) <= 64 for uid in uids)
    assert sorted(path.name for path in tmp_path.glob("*.dcm")) == [f"{name}.dcm" for name in "abcdefgh"]


def renumber(dataset, k):
    """What a second export may change."""
    dataset.InstanceNumber = 50 - k


def test_patient_and_study_are_the_images_and_dates_too(tmp_path):
    volume = volume_of(tmp_path / "images", StudyTime="081500", PatientAge="071Y", TimezoneOffsetFromUTC="+0100")
    write_seg(tmp_path / "seg.dcm", some_labels(), volume, **THREE)
    seg, source = pydicom.dcmread(tmp_path / "seg.dcm"), datasets_of(volume)[0]
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyDate"),
        *("StudyTime", "StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName"),
        *("SpecificCharacterSet", "TimezoneOffsetFromUTC"),
    ):
        assert seg[keyword].value == source[keyword].value, keyword
    assert (seg.ContentDate, seg.ContentTime) == (source.ContentDate, source.ContentTime) == (SECRETS[3], "101500")
    assert (seg.Modality, seg.Manufacturer, seg.ManufacturerModelName) == ("SEG", "segkit", "hippocampus")
    assert (seg.SeriesNumber, seg.InstanceNumber) == (1003, 1)
    assert "InstanceCreationDate" not in seg
    assert "ContributionDateTime" not in str(seg)


@pytest.mark.parametrize(
    ("tags", "date", "time"),
    [
        ({"ContentDate": None}, "20140503", "101500"),
        ({"ContentDate": "", "AcquisitionDate": "20140504", "AcquisitionTime": "0915"}, "20140504", "000000"),
        ({"ContentDate": "", "AcquisitionDate": None, "SeriesDate": None, "StudyDate": ""}, "19000101", "000000"),
    ],
)
def test_dates_fall_back_on_others_of_the_images_never_on_today(tmp_path, tags, date, time):
    volume = volume_of(tmp_path / "images", **tags)
    write_seg(tmp_path / "seg.dcm", some_labels(), volume, **THREE)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.ContentDate, seg.ContentTime) == (date, time)


def test_what_the_images_leave_out_is_left_empty(tmp_path):
    absent = dict.fromkeys(
        (
            *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate"),
            *("StudyTime", "ReferringPhysicianName", "SliceThickness", "PositionReferenceIndicator", "SeriesNumber"),
            "Modality",
        )
    )
    volume = volume_of(tmp_path / "images", SpecificCharacterSet=None, **absent)
    labels = some_labels()
    write_seg(tmp_path / "seg.dcm", labels, volume, **THREE)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
        assert not seg[keyword].value
    assert seg.SeriesNumber == 1000
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", volume).labels, labels)


def test_odd_tags_are_copied_as_they_are_and_not_remarked_on(tmp_path, capfd, recwarn):
    def odd(dataset, k):
        dataset.add_new("PatientSex", "CS", "unknown")
        dataset.add_new("PatientID", "LO", "7" * 80)
        dataset.add_new("PatientName", "PN", "A^B^C^D^E^F^G")
        dataset.add_new("StudyTime", "TM", "late")
        dataset.add_new("StudyID", "SH", "a study with far too long an id")

    volume = volume_of(tmp_path / "images", change=odd)
    labels = some_labels()
    capfd.readouterr()
    recwarn.clear()
    write_seg(tmp_path / "seg.dcm", labels, volume, **THREE)
    assert (read_seg(tmp_path / "seg.dcm", volume).labels == labels).all()
    assert capfd.readouterr() == ("", "")
    assert not [str(warning.message) for warning in recwarn]
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.PatientSex, seg.PatientID, seg.PatientName) == ("unknown", "7" * 80, "A^B^C^D^E^F^G")


def test_a_patients_damaged_tag_is_named_and_others_are_left_out(tmp_path):
    def damaged(name, element):
        paths = write_series(tmp_path / name, shape=SHAPE, SeriesNumber=None, PatientAge="071Y")
        for path in paths:
            content = path.read_bytes()
            assert content.count(element) == 1
            path.write_bytes(content.replace(element, element[:4] + b"ZZ"))  # a type of value that there isn't
        return read(tmp_path / name)

    with pytest.raises(DataError, match=r"patient: PatientAge \(0010,1010\) is damaged; export the images again"):
        write_seg(tmp_path / "seg.dcm", some_labels(), damaged("patient", b"\x10\x00\x10\x10AS"), **THREE)
    write_seg(tmp_path / "seg.dcm", some_labels(), damaged("study", b"\x08\x00\x30\x10LO"), **THREE)
    assert "StudyDescription" not in pydicom.dcmread(tmp_path / "seg.dcm")


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", None])
def test_names_of_patients_and_classes_keep_their_letters(tmp_path, charset):
    patient = "Müller^Jörg" if charset else "Muller^Jorg"
    volume = volume_of(tmp_path / "images", SpecificCharacterSet=charset, PatientName=patient)
    for name in ("Läsion", "плечо", "lesion"):
        write_seg(tmp_path / "seg.dcm", some_labels(classes=2), volume, classes=["-", name], task="binary", **MODEL)
        seg = pydicom.dcmread(tmp_path / "seg.dcm")
        assert seg.PatientName == patient
        assert seg.SegmentSequence[0].SegmentLabel == name
        assert seg.get("SpecificCharacterSet") == (charset if name == "lesion" else "ISO_IR 192")
        assert read_seg(tmp_path / "seg.dcm", volume, ["-", name], task="binary").names == ("-", name)


def test_segments_say_what_they_are_and_what_made_them(tmp_path):
    volume = volume_of(tmp_path / "images")
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], np.uint8)
    write_seg(tmp_path / "seg.dcm", some_labels(), volume, colours=colours, members=5, **THREE)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    liver, tumour = (seg.get_segment_description(number) for number in (1, 2))
    assert (liver.segment_label, tumour.segment_label) == ("liver", "tumour")
    assert (liver.segmented_property_type.value, liver.segmented_property_type.meaning) == ("10200004", "Liver")
    assert tumour.segmented_property_category.meaning == "Morphologically Abnormal Structure"
    assert liver.algorithm_type.value == "AUTOMATIC"
    made_by = liver.algorithm_identification
    assert (made_by.name, made_by.family.meaning) == ("segkit hippocampus", "Artificial Intelligence")
    assert "0123456789abcdef" in made_by.version
    assert made_by.parameters == {"members": "5"}
    # L* 100 is 65535, a* and b* 0 are 32896; red is (53.24, 80.09, 67.20).
    assert np.abs(np.array(liver.RecommendedDisplayCIELabValue) - [65535, 32896, 32896]).max() < 20
    red = [53.24 / 100 * 65535, (80.09 + 128) / 255 * 65535, (67.20 + 128) / 255 * 65535]
    assert np.abs(np.array(tumour.RecommendedDisplayCIELabValue) - red).max() < 20


def test_a_picture_without_a_place_has_an_object_of_its_one_image(tmp_path):
    volume = volume_of(
        tmp_path / "images",
        shape=(9, 7, 1),
        modality="CR",
        **dict.fromkeys(("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient")),
    )
    assert not volume.located
    labels = some_labels((9, 7, 1))
    write_seg(tmp_path / "seg.dcm", labels, volume, **THREE)
    assert "FrameOfReferenceUID" not in pydicom.dcmread(tmp_path / "seg.dcm")
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    found = seg.get_pixels_by_source_instance([datasets_of(volume)[0].SOPInstanceUID], combine_segments=True)
    np.testing.assert_array_equal(found.transpose(2, 1, 0), labels)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", volume).labels, labels)


def twice(dataset, k):
    """Two echoes at each place."""
    for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        groups.MREchoSequence = [pydicom.Dataset()]
        groups.MREchoSequence[0].EffectiveEchoTime = 10.0 + number % 2
        position = list(groups.PlanePositionSequence[0].ImagePositionPatient)
        groups.PlanePositionSequence[0].ImagePositionPatient = [*position[:2], 2.5 * (number // 2)]


def test_frames_that_a_volume_names_are_the_ones_referred_to(tmp_path):
    write_series(tmp_path / "images", shape=SHAPE, multiframe=True, change=twice)
    late = read_series(find_series(tmp_path / "images").series[1])
    labels = some_labels((7, 5, 3))
    named = replace(late, origin=tuple(Frame(datasets_of(late)[0], 2 * k + 2, several=True) for k in range(3)))
    write_seg(tmp_path / "seg.dcm", labels, named, **THREE)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    found = seg.get_pixels_by_source_frame(datasets_of(late)[0].SOPInstanceUID, [2, 4, 6], combine_segments=True)
    np.testing.assert_array_equal(found.transpose(2, 1, 0), labels)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", late).labels, labels)
    with pytest.raises(DataError, match="several frames are at one place, and which of them were read isn't known"):
        write_seg(tmp_path / "seg.dcm", labels, replace(late, origin=datasets_of(late)[:1]), **THREE)


def without_a_place(dataset, k):
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    for keyword in ("FrameOfReferenceUID", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        delattr(dataset, keyword)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"FrameOfReferenceUID": None}, r"FrameOfReferenceUID \(0020,0052\) is missing or empty"),
        ({"StudyInstanceUID": ""}, r"StudyInstanceUID \(0020,000D\) is missing or empty; a DICOM Segmentation object"),
        ({"multiframe": True, "change": without_a_place}, "the images don't say where in the patient they are"),
        ({"shape": (7, 1, 2)}, "images of fewer than 8 pixels"),
    ],
)
def test_why_there_is_no_object_is_said_beforehand(tmp_path, options, why):
    volume = volume_of(tmp_path / "images", **options)
    labels = np.zeros(volume.geometry.shape, np.uint8)
    with pytest.raises(DataError, match=why) as caught:
        write_seg(tmp_path / "seg.dcm", labels, volume, **THREE)
    assert why_no_seg(volume) == str(caught.value)
    assert not any(secret in str(caught.value) for secret in SECRETS)
    assert not (tmp_path / "seg.dcm").exists()
    assert why_no_seg(volume_of(tmp_path / "whole")) is None


def test_other_formats_and_moved_volumes_have_none(tmp_path):
    volume = volume_of(tmp_path / "images")
    labels = some_labels()
    for origin in (None, (), "a header"):
        other = Volume("scan", volume.values, volume.geometry, tmp_path / "scan.nii", origin=origin)
        with pytest.raises(DataError, match=r"scan\.nii: DICOM Segmentation objects are for images that are DICOM"):
            write_seg(tmp_path / "seg.dcm", labels, other, **THREE)
    affine = volume.geometry.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 5], [0, 0, 0, 1]])
    moved = Volume("scan", volume.values, Geometry(SHAPE, affine), volume.path, origin=datasets_of(volume))
    write_seg(tmp_path / "seg.dcm", labels[:, :, ::-1], moved, **THREE)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", volume).labels, labels)
    affine = volume.geometry.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.6], [0, 0, 0, 1]])
    moved = Volume("scan", volume.values, Geometry(SHAPE, affine), volume.path, origin=datasets_of(volume))
    with pytest.raises(ValueError, match="the volume's slices aren't where its data sets say"):
        write_seg(tmp_path / "seg.dcm", labels, moved, **THREE)


@pytest.mark.parametrize("name", ["", "a\\b", "two\nlines", "x" * 65], ids=["empty", "backslash", "lines", "long"])
def test_names_that_dicom_has_no_room_for_are_refused(tmp_path, name):
    volume = volume_of(tmp_path / "images")
    with pytest.raises(UsageError, match="can't name a DICOM segment; rename it: up to 64 characters"):
        write_seg(tmp_path / "s.dcm", some_labels(), volume, **{**THREE, "classes": ["background", "liver", name]})


def test_masks_of_another_shape_or_range_are_refused(tmp_path):
    volume, path = volume_of(tmp_path / "images"), tmp_path / "seg.dcm"
    labels = some_labels()
    with pytest.raises(ValueError, match=r"labels uint8 \(5, 7, 6\); expected uint8 \(7, 5, 6\)"):
        write_seg(path, labels.transpose(1, 0, 2), volume, **THREE)
    with pytest.raises(ValueError, match=r"labels up to 3; expected 0\.\.2"):
        write_seg(path, labels + 1, volume, **THREE)
    maps = np.zeros((3, *SHAPE), np.float32)
    with pytest.raises(ValueError, match=r"probabilities \(3, 7, 5, 6\); expected \(1, 7, 5, 6\)"):
        write_seg(path, labels, volume, probabilities=maps, **TWO)
    for wrong in (1.01, -0.01, np.nan):
        maps[1, 0, 0, 0] = wrong
        with pytest.raises(ValueError, match=r"probabilities must lie in 0\.\.1"):
            write_seg(path, labels, volume, probabilities=maps, **THREE)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be written"):
        write_seg(tmp_path / "file" / "seg.dcm", labels, volume, **THREE)
