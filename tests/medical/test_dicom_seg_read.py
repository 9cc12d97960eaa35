"""Segmentation objects of other programs: any order, direction and plane, or one clear line."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from medical.dicom_files import AXIAL, write_series
from pydicom.data.data_manager import DATA_ROOT
from pydicom.uid import RLELossless, generate_uid

from segkit.data.geometry import Geometry
from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.medical.dicom_frames import datasets_of
from segkit.medical.dicom_seg_read import read_seg
from segkit.medical.dicom_seg_write import write_seg
from segkit.medical.dicom_series import find_series
from segkit.medical.dicom_volume import read_series

SHAPE = (7, 5, 6)
CLASSES = ["background", "liver", "tumour"]
OF = {"classes": CLASSES, "task": "multiclass", "background": 0, "model_name": "m", "model_digest": "d"}
ORIGIN = np.array([-20.5, -31.25, 12.0])  # of the images below, LPS
ACROSS, DOWN, STEP = np.array([0.8, 0, 0]), np.array([0, 1.1, 0]), np.array([0, 0, 2.5])


def images(folder, **options):
    write_series(folder, **{"shape": SHAPE, "origin": ORIGIN, "spacing": (0.8, 1.1), "slice_step": 2.5, **options})
    (series,) = find_series(folder).series
    return read_series(series)


@pytest.fixture
def volume(tmp_path):
    return images(tmp_path / "images", shuffle=1)


@pytest.fixture
def labels():
    return np.random.default_rng(7).integers(0, 3, SHAPE).astype(np.uint8)


@pytest.fixture
def seg(tmp_path, volume, labels):
    """An object of ours, to be changed."""
    write_seg(tmp_path / "ours.dcm", labels, volume, **OF)
    return pydicom.dcmread(tmp_path / "ours.dcm")


def planes(seg, stacks, first, across, down, step):
    """Replace the frames by two stacks [N, rows, columns], one a segment; steps are millimetres from pixel to pixel."""
    stacks = np.asarray(stacks)
    shared = seg.SharedFunctionalGroupsSequence[0]
    directions = np.concatenate([across / np.linalg.norm(across), down / np.linalg.norm(down)])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = directions.tolist()
    shared.PixelMeasuresSequence[0].PixelSpacing = [float(np.linalg.norm(down)), float(np.linalg.norm(across))]
    shared.PixelMeasuresSequence[0].SpacingBetweenSlices = float(np.linalg.norm(step))
    template = seg.PerFrameFunctionalGroupsSequence[0]
    groups = []
    for segment, stack in enumerate(stacks, start=1):
        for number in range(len(stack)):
            item = pydicom.Dataset.from_json(template.to_json())
            item.PlanePositionSequence[0].ImagePositionPatient = (first + number * step).tolist()
            item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = segment
            groups.append(item)
    seg.PerFrameFunctionalGroupsSequence = groups
    seg.NumberOfFrames = len(groups)
    seg.Rows, seg.Columns = stacks.shape[2:]
    bits = np.packbits(stacks.astype(bool).ravel(), bitorder="little").tobytes()
    seg.PixelData = bits + b"\0" * (len(bits) % 2)
    return seg


def stacks_of(labels):
    """[segments, K, J, I] of 0 and 1."""
    return np.stack([labels.transpose(2, 1, 0) == segment for segment in (1, 2)])


def found(seg, volume, tmp_path, **options):
    seg.save_as(tmp_path / "theirs.dcm", enforce_file_format=True)
    return read_seg(tmp_path / "theirs.dcm", volume, **options)


def test_frames_in_any_order(seg, volume, labels, tmp_path):
    order = np.random.default_rng(0).permutation(12)
    groups, pixels = list(seg.PerFrameFunctionalGroupsSequence), seg.pixel_array
    seg.PerFrameFunctionalGroupsSequence = [groups[index] for index in order]
    seg.PixelData = np.packbits(pixels[order].ravel(), bitorder="little").tobytes() + b"\0"
    np.testing.assert_array_equal(found(seg, volume, tmp_path).labels, labels)


def test_frames_mirrored_turned_and_in_other_planes(seg, volume, labels, tmp_path):
    stacks = stacks_of(labels)
    mirrored = planes(seg, stacks[..., ::-1], ORIGIN + 6 * ACROSS, -ACROSS, DOWN, STEP)
    np.testing.assert_array_equal(found(mirrored, volume, tmp_path).labels, labels)
    turned = planes(seg, stacks.swapaxes(2, 3), ORIGIN, DOWN, ACROSS, STEP)
    np.testing.assert_array_equal(found(turned, volume, tmp_path).labels, labels)
    sagittal = planes(seg, stacks.transpose(0, 3, 1, 2)[:, :, ::-1], ORIGIN + 5 * STEP, DOWN, -STEP, ACROSS)
    np.testing.assert_array_equal(found(sagittal, volume, tmp_path).labels, labels)
    larger = np.pad(stacks, ((0, 0), (1, 2), (3, 1), (2, 2)))
    padded = planes(seg, larger, ORIGIN - 2 * ACROSS - 3 * DOWN - STEP, ACROSS, DOWN, STEP)
    np.testing.assert_array_equal(found(padded, volume, tmp_path).labels, labels)


def test_volumes_of_other_formats_are_known_by_their_grid(seg, volume, labels, tmp_path):
    moved = volume.geometry.affine @ np.array([[0, 0, -1.0, 6], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    values = volume.values.transpose(1, 2, 0, 3)[:, :, ::-1]
    nifti = Volume("scan", values, Geometry((5, 6, 7), moved), tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(found(seg, nifti, tmp_path).labels, labels.transpose(1, 2, 0)[:, :, ::-1])


def test_label_maps_and_compressed_objects(seg, volume, labels, tmp_path):
    described = [highdicom.seg.SegmentDescription.from_dataset(item) for item in seg.SegmentSequence]
    theirs = highdicom.seg.Segmentation(
        source_images=datasets_of(volume),
        pixel_array=labels.transpose(2, 1, 0),
        segmentation_type="LABELMAP",
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="theirs",
        manufacturer_model_name="theirs",
        software_versions="1",
        device_serial_number="1",
    )
    masks = found(theirs, volume, tmp_path)
    np.testing.assert_array_equal(masks.labels, labels)
    assert masks.names == ("background", "liver", "tumour")

    probabilities = np.eye(3, dtype=np.float32)[labels].transpose(3, 0, 1, 2)
    write_seg(tmp_path / "fractional.dcm", labels, volume, probabilities=probabilities, **OF)
    fractional = pydicom.dcmread(tmp_path / "fractional.dcm")
    fractional.MaximumFractionalValue = 100
    fractional.PixelData = bytes(np.frombuffer(fractional.PixelData, np.uint8) // 5)  # 255 → 51, more than half
    fractional.compress(RLELossless, encoding_plugin="pydicom")
    np.testing.assert_array_equal(found(fractional, volume, tmp_path).labels, labels)


def test_a_class_of_several_segments(seg, volume, labels, tmp_path):
    for segment in seg.SegmentSequence:
        segment.SegmentLabel = "lesion"
    masks = found(seg, volume, tmp_path, classes=["background", "lesion"], task="binary")
    np.testing.assert_array_equal(masks.labels, labels > 0)
    assert found(seg, volume, tmp_path).names == ("background", "lesion")
    np.testing.assert_array_equal(found(seg, volume, tmp_path, classes=["lesion"], task="binary").labels, labels > 0)


def test_objects_without_a_place_go_by_the_images_they_name(seg, volume, labels, tmp_path):
    for groups in seg.PerFrameFunctionalGroupsSequence:
        del groups.PlanePositionSequence
    np.testing.assert_array_equal(found(seg, volume, tmp_path).labels, labels)
    with pytest.raises(DataError, match=r"frame 1 neither says where it is nor names one image of those in .*others"):
        found(seg, images(tmp_path / "others", study="another"), tmp_path)
    smaller = images(tmp_path / "smaller", shape=(6, 5, 6))
    with pytest.raises(DataError, match=r"has frames of 7×5 pixels; the images in .*smaller have 6×5"):
        found(seg, smaller, tmp_path)
    nifti = Volume("scan", volume.values, volume.geometry, tmp_path / "scan.nii")
    with pytest.raises(DataError, match=r"scan\.nii doesn't say where in the patient it is, so that nothing places it"):
        found(seg, nifti, tmp_path)

    several = images(tmp_path / "several", multiframe=True, shuffle=3)
    write_seg(tmp_path / "of_one_file.dcm", labels, several, **OF)
    seg = pydicom.dcmread(tmp_path / "of_one_file.dcm")
    for groups in seg.PerFrameFunctionalGroupsSequence:
        del groups.PlanePositionSequence
    np.testing.assert_array_equal(found(seg, several, tmp_path).labels, labels)


@pytest.mark.parametrize("apart", [2, 3])
def test_marks_on_few_slices_at_even_distances_are_no_coarser_grid(apart, volume, labels, tmp_path):
    sparse = np.zeros_like(labels)
    sparse[:, :, ::apart] = labels[:, :, ::apart]
    write_seg(tmp_path / "sparse.dcm", sparse, volume, **OF)
    np.testing.assert_array_equal(found(pydicom.dcmread(tmp_path / "sparse.dcm"), volume, tmp_path).labels, sparse)


def test_other_grids_are_refused_by_what_differs(seg, volume, labels, tmp_path):
    stacks = stacks_of(labels)

    def refused(why, *place):
        with pytest.raises(DataError, match=why):
            found(planes(seg, *place), volume, tmp_path)

    turned = np.array([[np.cos(0.1), np.sin(0.1), 0], [-np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
    refused("turned by no whole axes", stacks, ORIGIN, turned @ ACROSS, turned @ DOWN, STEP)
    refused(r"pixels of 0\.4 × 1\.1 mm where .*images have 0\.8 × 1\.1 mm", stacks, ORIGIN, ACROSS / 2, DOWN, STEP)
    refused(r"lie 0\.4 of a voxel beside those", stacks, ORIGIN + 0.4 * ACROSS, ACROSS, DOWN, STEP)
    refused("marks places outside the images", stacks, ORIGIN + ACROSS, ACROSS, DOWN, STEP)
    refused("marks places outside the images", stacks, ORIGIN - STEP, ACROSS, DOWN, STEP)
    refused("its frames are 2 slices of the images in .* apart", stacks[:, ::2], ORIGIN, ACROSS, DOWN, 2 * STEP)
    refused(r"lie 0\.5 of a voxel beside", stacks, ORIGIN, ACROSS, DOWN, STEP / 2)
    other = images(tmp_path / "other", frame_of_reference="another")
    with pytest.raises(DataError, match=r"another frame of reference \(FrameOfReferenceUID\) than the images in"):
        found(planes(seg, stacks, ORIGIN, ACROSS, DOWN, STEP), other, tmp_path)


def without(keyword, *, shared=None):
    def change(seg):
        delattr(seg.SharedFunctionalGroupsSequence[0][shared].value[0] if shared else seg, keyword)

    return change


def no_label(seg):
    seg.SegmentSequence[0].SegmentLabel = ""


def another_segment(seg):
    seg.PerFrameFunctionalGroupsSequence[3].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def cut_short(seg):
    seg.PixelData = seg.PixelData[:20]


def bad_position(seg):
    seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = [1, 2]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (without("SegmentSequence"), r"SegmentSequence \(0062,0002\) is missing or empty; export it again"),
        (without("PixelData"), r"PixelData \(7FE0,0010\) is missing or empty"),
        (no_label, "a segment has no number or no label; export it again"),
        (another_segment, "frame 4 shows no segment that is described; export it again"),
        (cut_short, "its pixels are damaged, or compressed in a way not read here"),
        (bad_position, r"ImagePositionPatient \(0020,0032\) is not 3 numbers"),
        (without("PixelSpacing", shared="PixelMeasuresSequence"), r"PixelSpacing \(0028,0030\) is missing"),
    ],
)
def test_damaged_objects_are_told_in_one_line(seg, volume, tmp_path, change, why):
    change(seg)
    with pytest.raises(DataError, match=rf"theirs\.dcm: {why}") as caught:
        found(seg, volume, tmp_path)
    assert "\n" not in str(caught.value)


def test_classes_that_dont_fit_are_told(seg, volume, tmp_path):
    with pytest.raises(DataError, match=r"segment 'tumour' is none of the classes; did you mean 'tumor'\?"):
        found(seg, volume, tmp_path, classes=["background", "liver", "tumor"])
    with pytest.raises(DataError, match="2 segments; a binary mask has one class besides the background"):
        found(seg, volume, tmp_path, task="binary")


def test_files_that_are_no_objects_are_told(volume, tmp_path):
    with pytest.raises(DataError, match=r"none\.dcm: no such file"):
        read_seg(tmp_path / "none.dcm", volume)
    (tmp_path / "text.dcm").write_text("no DICOM at all" * 20)
    with pytest.raises(DataError, match=r"text\.dcm: can't be read as DICOM"):
        read_seg(tmp_path / "text.dcm", volume)
    with pytest.raises(DataError, match="isn't a DICOM Segmentation object"):
        read_seg(volume.files[0], volume)


def test_real_objects_are_read_on_their_grid_and_other_files_refused(tmp_path):
    volume = images(tmp_path / "images")
    read = 0
    for path in sorted((Path(DATA_ROOT) / "test_files").glob("*.dcm")):  # others would be fetched
        if not path.name.startswith("liver"):
            with pytest.raises(DataError) as caught:
                read_seg(path, volume)
            assert "\n" not in str(caught.value)
            continue
        seg = pydicom.dcmread(path)
        shared = seg.SharedFunctionalGroupsSequence[0]
        frames = seg.PerFrameFunctionalGroupsSequence[: seg.get("NumberOfFrames") or 1]
        corners = np.array([frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames], float)
        spacing = shared.PixelMeasuresSequence[0]
        assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == list(AXIAL)
        affine = np.diag([-spacing.PixelSpacing[1], -spacing.PixelSpacing[0], spacing.SliceThickness, 1.0])
        affine[:3, 3] = corners[corners[:, 2].argmin()] * [-1, -1, 1]
        shape = (seg.Columns, seg.Rows, len(frames))
        own = Volume("own", np.zeros((*shape, 1), np.uint8), Geometry(shape, affine), tmp_path / "own.nii")
        pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)[corners[:, 2].argsort()]
        masks = read_seg(path, own)
        np.testing.assert_array_equal(masks.labels, pixels.transpose(2, 1, 0))
        assert masks.names == ("background", "Liver")
        with pytest.raises(DataError, match="another frame of reference"):
            read_seg(path, volume)
        read += 1
    assert read >= 2
