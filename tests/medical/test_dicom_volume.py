import gdcm
import numpy as np
import pydicom
import pytest
import SimpleITK
from medical.dicom_files import CORONAL, SAGITTAL, SECRETS, pattern, write_series
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from segkit.errors import DataError
from segkit.medical.dicom_frames import frames_of
from segkit.medical.dicom_series import find_series
from segkit.medical.dicom_volume import read_series

MPEG2 = UID("1.2.840.10008.1.2.4.100")


def read(paths, **options):
    (series,) = find_series(paths).series
    return read_series(series, **options)


def refusal(paths, **options):
    with pytest.raises(DataError) as raised:
        read(paths, **options)
    message = str(raised.value)
    assert "\n" not in message
    assert not any(secret in message for secret in SECRETS)
    return message


def by_itk(folder):
    """Values [I, J, K] and the RAS+ affine as ITK and GDCM read the series of a folder."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return in_ras(reader.Execute())


def in_ras(image):
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), np.diag([-1, -1, 1, 1]) @ affine


def random_frame(rng):
    """Two perpendicular unit vectors: along the axes in any direction, or oblique."""
    if rng.random() < 0.3:
        axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], (3, 1))
    else:
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0].T * rng.choice([-1, 1], (3, 1))
    return axes[0], axes[1]


def test_200_random_affines_and_their_values_are_those_of_itk(tmp_path):
    rng = np.random.default_rng(8)
    for number in range(200):
        folder = tmp_path / str(number)
        i, j = random_frame(rng)
        spacing = tuple(float(f"{each:.6g}") for each in rng.uniform(0.2, 3, 2))
        step = float(rng.uniform(0.4, 6)) * rng.choice([-1, 1])
        values = pattern((4, 3, 3), seed=number)
        write_series(
            folder,
            values,
            spacing=spacing,
            orientation=(*i, *j),
            origin=rng.uniform(-300, 300, 3),
            slice_step=step,
            shuffle=number,
        )
        volume = read(folder)
        expected, affine = by_itk(folder)
        assert np.abs(volume.geometry.affine - affine).max() < 1e-4
        assert np.array_equal(volume.values[..., 0], expected)
        assert np.array_equal(volume.values[..., 0], values if step > 0 else values[:, :, ::-1])


@pytest.mark.parametrize(
    ("position", "orientation", "letters"),
    [
        ("HFS", (1, 0, 0, 0, 1, 0), "LPS"),
        ("FFS", (-1, 0, 0, 0, 1, 0), "RPI"),
        ("HFP", (-1, 0, 0, 0, -1, 0), "RAS"),
        ("FFP", (1, 0, 0, 0, -1, 0), "LAI"),
        ("HFDR", (0, -1, 0, 1, 0, 0), "ALS"),
        ("HFS", SAGITTAL, "PIR"),
        ("HFS", CORONAL, "LIP"),
    ],
)
def test_a_marked_point_is_where_it_was_however_the_patient_lay(tmp_path, position, orientation, letters):
    """A bright voxel at a known place, LPS+, is at that place in RAS+."""
    i, j = np.array(orientation[:3], float), np.array(orientation[3:], float)
    values = np.zeros((9, 8, 7), np.int16)
    values[2, 5, 4] = 1000
    origin = np.array([-30.0, 17.5, 240.0])
    place = origin + 2 * 0.7 * i + 5 * 1.3 * j + 4 * 2.5 * np.cross(i, j)
    options = {"spacing": (0.7, 1.3), "slice_step": 2.5, "origin": origin, "orientation": orientation}
    volume = read(write_series(tmp_path, values, patient_position=position, shuffle=3, **options))
    found = np.argwhere(volume.values[..., 0] == 1000)
    assert volume.geometry.points(found)[0] == pytest.approx(place * [-1, -1, 1])
    assert volume.geometry.orientation == letters
    assert volume.geometry.spacing == pytest.approx((0.7, 1.3, 2.5))
    expected, affine = by_itk(tmp_path)
    assert np.allclose(volume.geometry.affine, affine, atol=1e-6)
    assert np.array_equal(volume.values[..., 0], expected)


def test_the_order_of_files_does_not_change_the_volume(tmp_path):
    volumes = [read(write_series(tmp_path / str(seed), shape=(5, 4, 11), shuffle=seed)) for seed in range(4)]
    for volume in volumes[1:]:
        assert np.array_equal(volume.values, volumes[0].values)
        assert np.array_equal(volume.geometry.affine, volumes[0].geometry.affine)
        assert [each.SOPInstanceUID for each in volume.origin] == [each.SOPInstanceUID for each in volumes[0].origin]


def test_a_tilted_gantry_shears_the_affine_and_is_noted(tmp_path):
    step = np.array([0.0, 0.9, 2.4])
    volume = read(write_series(tmp_path, modality="CT", slice_step=step, spacing=(0.5, 0.5), origin=(0, 0, 0)))
    expected = np.array([[-0.5, 0, 0, 0], [0, -0.5, -0.9, 0], [0, 0, 2.4, 0], [0, 0, 0, 1]])
    assert np.allclose(volume.geometry.affine, expected)
    assert volume.notes == ("its slices are shifted sideways, by 20.6° as with a tilted gantry; its affine keeps that",)


def test_slices_are_as_far_apart_as_their_positions_say(tmp_path):
    volume = read(write_series(tmp_path, slice_step=5, SpacingBetweenSlices=2.5, SliceThickness=3))
    assert volume.geometry.spacing[2] == pytest.approx(5)
    assert volume.notes == ("SpacingBetweenSlices says 2.5 mm, the slices' positions 5 mm: these are taken",)


@pytest.mark.parametrize(
    ("tags", "thickness", "notes"),
    [
        ({"SliceThickness": 4}, 4, ()),
        ({"SliceThickness": None, "SpacingBetweenSlices": 6}, 6, ()),
        (
            {"SliceThickness": None},
            1,
            ("a single slice that doesn't say how thick it is: 1 mm is taken",),
        ),
    ],
)
def test_a_single_slice_is_as_thick_as_it_says(tmp_path, tags, thickness, notes):
    volume = read(write_series(tmp_path, shape=(4, 3, 1), **tags))
    assert volume.geometry.spacing[2] == pytest.approx(thickness)
    assert volume.notes == notes


def test_a_volume_says_where_it_is_from(tmp_path):
    paths = write_series(tmp_path / "scan", shape=(4, 3, 5), shuffle=4)
    volume = read(tmp_path)
    assert volume.name == "scan_s003"
    assert volume.path == tmp_path / "scan"
    assert volume.files == tuple(paths)
    assert volume.located
    for path, dataset in zip(paths, volume.origin, strict=True):
        whole = pydicom.dcmread(path)
        assert "PixelData" in whole
        del whole.PixelData
        assert dataset == whole
        assert dataset.file_meta == whole.file_meta


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_types_stay_or_become_the_smallest_that_holds_their_values(tmp_path, kind):
    values = pattern((5, 4, 3), kind)
    volume = read(write_series(tmp_path, values, modality="MR"))
    kinds = {"uint8": "uint8", "uint16": "uint16"}
    assert volume.values.dtype == kinds.get(kind, "int16")
    assert np.array_equal(volume.values[..., 0], values)


@pytest.mark.parametrize(
    ("kind", "slope", "intercept", "expected"),
    [
        ("int16", 1, 0, "int16"),
        ("uint16", 1, -1024, "int16"),
        ("uint16", 1, 40000, "uint16"),
        ("uint16", 1, -40000, "float32"),
        ("uint8", 1, -128, "int16"),
        ("uint16", 1, 0.5, "float32"),
        ("uint16", 2, -1024, "float32"),
        ("int16", 0.0183, 0, "float32"),
        ("uint16", -1, 0, "float32"),
    ],
)
@pytest.mark.parametrize("multiframe", [False, True])
def test_values_are_rescaled(tmp_path, kind, slope, intercept, expected, multiframe):
    values = pattern((5, 4, 3), kind)
    options = {"slope": slope, "intercept": intercept, "multiframe": multiframe}
    volume = read(write_series(tmp_path, values, modality="CT", **options))
    assert volume.values.dtype == expected
    assert np.allclose(volume.values[..., 0], values.astype(float) * slope + intercept, rtol=1e-6)


@pytest.mark.parametrize("multiframe", [False, True])
def test_each_slice_may_be_rescaled_by_its_own_numbers(tmp_path, multiframe):
    values, slopes = pattern((5, 4, 3), "uint16"), (0.5, 2, 7.25)
    modality = "MR" if multiframe else "PT"
    volume = read(write_series(tmp_path, values, modality=modality, slope=slopes, shuffle=1, multiframe=multiframe))
    assert np.allclose(volume.values[..., 0], values * np.array(slopes))
    volume = read(
        write_series(tmp_path, values, modality=modality, slope=1, intercept=(0, -1, 5), multiframe=multiframe)
    )
    assert volume.values.dtype == "int16"
    assert np.array_equal(volume.values[..., 0], values + np.array([0, -1, 5]))


def test_a_slope_of_0_is_refused(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 1), slope=0)
    assert refusal(paths) == (
        f"{paths[0]}: RescaleSlope (0028,1053) is 0, which makes all values one; export the series again"
    )


def test_a_modality_lut_is_looked_up(tmp_path):
    table = pydicom.Dataset()
    table.LUTDescriptor = [256, 10, 16]
    table.ModalityLUTType = "US"
    table.add_new("LUTData", "US", [int(number) for number in np.arange(256) ** 2 // 4])
    values = np.arange(0, 120, dtype=np.uint16).reshape(5, 6, 4)
    paths = write_series(tmp_path, values, ModalityLUTSequence=[table])
    expected = np.clip(values.astype(int) - 10, 0, 255) ** 2 // 4
    assert np.array_equal(read(paths).values[..., 0], expected)


@pytest.mark.parametrize(("kind", "stored"), [("uint16", 12), ("int16", 12), ("uint16", 10), ("uint8", 5)])
def test_unused_bits_are_cleared_and_signs_set(tmp_path, kind, stored):
    low = -(1 << stored - 1) if kind == "int16" else 0
    values = np.random.default_rng(0).integers(low, low + (1 << stored), (5, 4, 3)).astype(kind)
    unsigned = values.view(values.dtype.str.replace("i", "u"))
    bits = values.dtype.itemsize * 8
    dirty = (unsigned & ((1 << stored) - 1)) | np.array((1 << bits) - (1 << stored), unsigned.dtype)
    paths = write_series(tmp_path, dirty.view(kind), bits_stored=stored)
    assert np.array_equal(read(paths).values[..., 0], values)


def test_negatives_of_x_ray_pictures_are_turned_round_with_their_window(tmp_path):
    values = np.array([[[0], [100]], [[1000], [4095]]], np.uint16)
    positive = write_series(tmp_path / "p", values, modality="CR", WindowCenter=1000.5, WindowWidth=201, bits_stored=12)
    negative = write_series(
        tmp_path / "n",
        4095 - values,
        modality="CR",
        photometric="MONOCHROME1",
        WindowCenter=4095 - 1000.5 + 1,
        WindowWidth=201,
        bits_stored=12,
    )
    positive, negative = read(positive), read(negative)
    assert negative.values.dtype == "uint16"
    assert np.array_equal(positive.values, negative.values)
    assert positive.voi == negative.voi == (900, 1100)
    assert negative.notes[-1] == "its greys are turned round (MONOCHROME1), so that bright means dense"


def test_negatives_are_turned_round_within_the_rescaled_range(tmp_path):
    values = np.array([[[0], [100]], [[1000], [4095]]], np.uint16)
    options = {"modality": "CR", "photometric": "MONOCHROME1", "bits_stored": 12}
    volume = read(write_series(tmp_path, values, slope=2, intercept=-50, **options))
    assert np.array_equal(volume.values[..., 0], (4095.0 - values) * 2 - 50)
    signed = np.array([[[-2048], [2047]], [[-1], [5]]], np.int16)
    volume = read(write_series(tmp_path, signed, **options))
    assert volume.values.dtype == "int16"
    assert np.array_equal(volume.values[..., 0], -1 - signed)


def test_quantities_stay_as_measured_whatever_way_they_are_shown(tmp_path):
    values = pattern((4, 3, 3), "uint16")
    volume = read(write_series(tmp_path, values, modality="PT", photometric="MONOCHROME1"))
    assert np.array_equal(volume.values[..., 0], values)
    assert volume.notes == ("it asks to be shown turned round (MONOCHROME1); its values stay as they were measured",)


@pytest.mark.parametrize(
    ("tags", "voi"),
    [
        ({}, None),
        ({"WindowCenter": 40, "WindowWidth": 400}, (-160, 239)),  # by hand: 40 − 0.5 ± 399 / 2
        ({"WindowCenter": [40, 300], "WindowWidth": [400, 1500]}, (-160, 239)),
        ({"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "LINEAR_EXACT"}, (-160, 240)),
        ({"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"}, (-160, 240)),
        ({"WindowCenter": 40, "WindowWidth": 1}, None),
        ({"WindowCenter": 40}, None),
    ],
)
def test_the_first_window_is_that_of_the_standards_formula(tmp_path, tags, voi):
    assert read(write_series(tmp_path, modality="CT", **tags)).voi == voi


def test_the_window_of_a_frame_is_that_of_the_middle_slice(tmp_path):
    def change(dataset, k):
        for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            frame.FrameVOILUTSequence = [pydicom.Dataset()]
            frame.FrameVOILUTSequence[0].WindowCenter = 100 * number + 0.5
            frame.FrameVOILUTSequence[0].WindowWidth = 11

    assert read(write_series(tmp_path, multiframe=True, shape=(4, 3, 5), change=change)).voi == (195, 205)


@pytest.mark.parametrize("tag", [-2000, 63536])
def test_padding_gets_the_lowest_of_the_values_that_were_measured(tmp_path, tag):
    values = pattern((4, 3, 3)) + np.int16(200)
    measured = values.copy()
    values[0] = -2000

    def change(dataset, k):
        dataset.add_new("PixelPaddingValue", "SS" if tag < 0 else "US", tag)

    volume = read(write_series(tmp_path, values, modality="CT", intercept=-1024, slope=1, change=change))
    measured[0] = measured[1:].min()
    assert np.array_equal(volume.values[..., 0], measured - np.int16(1024))
    assert volume.notes == ("25 % of its pixels are padding (PixelPaddingValue), nothing was measured there",)


def test_padding_in_a_range_above_all_values_is_filled_and_one_among_them_stays(tmp_path):
    values = pattern((4, 3, 3), "uint16")
    padded = values.copy()
    padded[0, 0] = [60000, 60001, 60002]
    tags = {"PixelPaddingValue": 60000, "PixelPaddingRangeLimit": 65535}
    expected = values.copy()
    expected[0, 0] = np.delete(values.reshape(-1, 3), 0, axis=0).min()
    assert np.array_equal(read(write_series(tmp_path, padded, **tags)).values[..., 0], expected)
    among = int(np.sort(values, axis=None)[5])
    assert np.array_equal(read(write_series(tmp_path, values, PixelPaddingValue=among)).values[..., 0], values)
    blank = np.zeros((4, 3, 3), np.uint16)
    assert np.array_equal(read(write_series(tmp_path, blank, PixelPaddingValue=0)).values[..., 0], blank)


COLOURS = np.random.default_rng(4).integers(0, 256, (33, 35, 2, 3)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_rgb_has_three_channels_and_no_window(tmp_path, kind):
    values = COLOURS.astype(kind) * 3
    volume = read(write_series(tmp_path, values, photometric="RGB", modality="OT", WindowCenter=1, WindowWidth=9))
    assert volume.values.dtype == kind
    assert volume.channels == 3
    assert volume.voi is None
    assert np.array_equal(volume.values, values)


def test_planes_of_colours_one_behind_the_other_are_put_together(tmp_path):
    def change(dataset, k):
        dataset.PlanarConfiguration = 1
        data = COLOURS[:, :, k].transpose(2, 1, 0).tobytes()  # [I, J, 3] → [3, rows, columns]
        dataset.PixelData = data + b"\0" * (len(data) % 2)

    paths = write_series(tmp_path, COLOURS, photometric="RGB", modality="OT", change=change)
    assert np.array_equal(read(paths).values, COLOURS)


def test_ybr_becomes_rgb(tmp_path):
    """By ITU-R BT.601, as JPEG has it: Y is the luma, Cb and Cr the differences from it, around 128."""
    y, cb, cr = (COLOURS[..., channel].astype(float) for channel in range(3))
    r, b = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    g = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    expected = np.clip(np.stack([r, g, b], axis=-1), 0, 255)
    volume = read(write_series(tmp_path, COLOURS, photometric="YBR_FULL", modality="OT"))
    assert volume.values.dtype == "uint8"
    assert np.abs(volume.values - expected).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palettes_colours_are_looked_up(tmp_path, bits):
    numbers = pattern((5, 4, 2), "uint8")
    colours = np.random.default_rng(3).integers(0, 256, (256, 3)).astype(np.uint8)

    def change(dataset, k):
        for channel, name in enumerate(("Red", "Green", "Blue")):
            setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
            entries = colours[:, channel].astype(np.uint8 if bits == 8 else "<u2") * (1 if bits == 8 else 257)
            setattr(dataset, f"{name}PaletteColorLookupTableData", entries.tobytes())

    paths = write_series(tmp_path, numbers, photometric="PALETTE COLOR", modality="US", change=change)
    volume = read(paths[:1])
    assert volume.values.dtype == "uint8"
    assert np.array_equal(volume.values[:, :, 0], colours[numbers[:, :, 0]])


@pytest.mark.parametrize("photometric", ["CMYK", "HSV", "YBR_PARTIAL_420"])
def test_colours_of_other_kinds_are_refused(tmp_path, photometric):
    paths = write_series(tmp_path, shape=(4, 3, 1), PhotometricInterpretation=photometric)
    assert refusal(paths) == (
        f"{paths[0]}: its pixels have 1 samples of the kind {photometric}, which isn't read here; export it in grey "
        "(MONOCHROME2) or as RGB"
    )


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
)
@pytest.mark.parametrize("multiframe", [False, True])
def test_every_lossless_encoding_gives_the_same_values(tmp_path, kind, syntax, multiframe):
    values = pattern((35, 33, 3), kind)
    paths = write_series(tmp_path, values, transfer_syntax=syntax, multiframe=multiframe, shuffle=7)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID == syntax
    volume = read(tmp_path)
    assert volume.values.dtype == kind
    assert np.array_equal(volume.values[..., 0], values)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_colours_come_through_lossless_compression(tmp_path, syntax):
    paths = write_series(tmp_path, COLOURS, photometric="RGB", modality="OT", transfer_syntax=syntax)
    assert np.array_equal(read(paths).values, COLOURS)


def compressed_by_gdcm(path, kind, bits=None):
    """The file compressed in place; ``bits`` of the compressed picture where they aren't those allocated."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    if bits:
        image.SetPixelFormat(gdcm.PixelFormat(1, bits, bits, bits - 1, 0))
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(kind))
    change.SetInput(image)
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize(("kind", "stored"), [("uint8", 8), ("uint16", 12), ("uint16", 16), ("int16", 16)])
@pytest.mark.parametrize("process", ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14"])
def test_lossless_jpeg_gives_the_same_values(tmp_path, kind, stored, process, capfd):
    values = pattern((36, 33, 1), kind)
    paths = write_series(tmp_path, values, bits_stored=stored)
    compressed_by_gdcm(paths[0], getattr(gdcm.TransferSyntax, process))
    assert "JPEG Lossless" in pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID.name
    assert np.array_equal(read(paths).values[..., 0], values)
    assert capfd.readouterr() == ("", "")


def smooth(shape, top):
    i, j = np.mgrid[: shape[0], : shape[1]]
    return ((np.sin(i / 9) * np.cos(j / 7) + 1) * top / 2)[:, :, None].repeat(shape[2], axis=2)


def test_lossy_jpeg_of_8_and_12_bits_is_close(tmp_path, capfd):
    values = smooth((64, 48, 2), 250).astype(np.uint8)
    volume = read(write_series(tmp_path / "8", values, transfer_syntax=JPEGBaseline8Bit))
    assert np.abs(volume.values[..., 0].astype(int) - values).max() <= 4
    values = smooth((64, 48, 2), 4000).astype(np.uint16)
    for path in write_series(tmp_path / "12", values, bits_stored=12):
        compressed_by_gdcm(path, gdcm.TransferSyntax.JPEGExtendedProcess2_4, bits=12)
        damage(path, BitsAllocated=16)
    volume = read(tmp_path / "12")
    assert volume.values.dtype == "uint16"
    assert np.abs(volume.values[..., 0].astype(int) - values).max() <= 4
    assert capfd.readouterr() == ("", "")


def test_lossy_jpeg_in_colour_is_rgb(tmp_path):
    values = np.concatenate([smooth((64, 48, 1), 250)[..., None], np.full((64, 48, 1, 2), [90.0, 200.0])], axis=3)
    values = values.astype(np.uint8)
    paths = write_series(tmp_path, values, photometric="RGB", modality="OT", transfer_syntax=JPEGBaseline8Bit)
    assert pydicom.dcmread(paths[0]).PhotometricInterpretation == "YBR_FULL_422"
    assert np.abs(read(paths).values.astype(int) - values).max() <= 12


@pytest.mark.parametrize("shuffle", [None, 1, 2])
def test_an_enhanced_object_is_what_the_series_of_its_frames_is(tmp_path, shuffle):
    options = {"shape": (6, 5, 7), "orientation": CORONAL, "slope": 2.0, "intercept": -7.0, "slice_step": 1.75}
    series = read(write_series(tmp_path / "series", **options, shuffle=5))
    (path,) = write_series(tmp_path / "one", **options, multiframe=True, shuffle=shuffle, prefix="E")
    frames = read(path)
    assert np.array_equal(frames.values, series.values)
    assert np.array_equal(frames.geometry.affine, series.geometry.affine)
    assert frames.path == path
    assert frames.files == (path,)
    assert frames.name == f"{path.stem}_s003"
    assert len(frames.origin) == 1
    assert len(frames.origin[0].PerFrameFunctionalGroupsSequence) == 7
    assert "PixelData" not in frames.origin[0]


def test_an_enhanced_object_is_where_itk_says(tmp_path):
    (path,) = write_series(tmp_path, multiframe=True, orientation=SAGITTAL, modality="CT")
    values, affine = in_ras(SimpleITK.ReadImage(str(path)))
    volume = read(path)
    assert np.allclose(volume.geometry.affine, affine, atol=1e-4)
    assert np.array_equal(volume.values[..., 0], values)


def test_volumes_in_one_object_get_their_own_frames(tmp_path):
    def change(dataset, k):
        for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            frame.MREchoSequence = [pydicom.Dataset()]
            frame.MREchoSequence[0].EffectiveEchoTime = [30.0, 10.0][number % 2]
            frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, -(number // 2)]

    values = pattern((33, 34, 6))
    (path,) = write_series(tmp_path, values, multiframe=True, change=change, transfer_syntax=JPEGLSLossless)
    first, second = (read_series(series) for series in find_series(path).series)
    assert np.array_equal(first.values[..., 0], values[:, :, [5, 3, 1]])
    assert np.array_equal(second.values[..., 0], values[:, :, [4, 2, 0]])
    assert [frame.number for frame in second.origin] == [5, 3, 1]
    assert all(frame.several and "PixelData" not in frame.dataset for frame in second.origin)
    assert frames_of(second) == second.origin


def test_frames_without_a_place_stay_in_their_order_and_are_not_located(tmp_path):
    def change(dataset, k):
        del dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"  # ultrasound in many frames
        dataset.Modality = "US"

    values = pattern((5, 4, 6), "uint8")
    volume = read(write_series(tmp_path, values, multiframe=True, change=change))
    assert not volume.located
    assert not volume.spaced
    assert np.array_equal(volume.values[..., 0], values)
    assert volume.notes == (
        "its 6 frames have no place in the patient (they are moments, or views), and count as slices",
        "the file doesn't say how large its pixels are: lengths are in pixels",
        "names or dates may be burned into its pixels: look at them before you give them to others",
    )


def test_compressions_that_are_not_read_are_named(tmp_path):
    (path,) = write_series(tmp_path, shape=(4, 3, 1), dtype="uint8")
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([bytes(100)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = MPEG2
    dataset.save_as(path)
    assert refusal(path) == (
        f"{path}: its pixels are stored as MPEG2 Main Profile / Main Level, which isn't read here; export it "
        "uncompressed (Explicit VR Little Endian), or as JPEG Lossless, JPEG-LS or JPEG 2000"
    )


def damage(path, **tags):
    dataset = pydicom.dcmread(path)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, JPEGBaseline8Bit])
def test_a_compressed_picture_of_another_size_is_refused_before_it_is_decoded(tmp_path, syntax, capfd):
    (path,) = write_series(tmp_path, shape=(40, 36, 1), dtype="uint8", transfer_syntax=syntax)
    damage(path, Rows=12)
    assert refusal(path) == (
        f"{path}: its tags say 12 × 40 × 1 of 8 bits (rows, columns, samples), its compressed picture says 36 × 40 × 1 "
        "of 8 bits: it is damaged; export it again"
    )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cut", [0.2, 0.7, 0.95])
@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless])
def test_a_compressed_picture_that_is_cut_short_is_refused(tmp_path, syntax, cut, capfd):
    (path,) = write_series(tmp_path, shape=(40, 36, 1), dtype="uint8", transfer_syntax=syntax)
    dataset = pydicom.dcmread(path)
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([stream[: int(len(stream) * cut)]])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    expected = "its pixels are cut short; copy or export it again"
    if syntax == RLELossless:
        expected = (
            "its pixels (RLE Lossless) can't be decoded: damaged, or not as the standard has them; export the file "
            "again, uncompressed"
        )
    assert refusal(path) == f"{path}: {expected}"
    assert capfd.readouterr() == ("", "")


def test_fewer_frames_than_said_are_refused(tmp_path):
    (path,) = write_series(tmp_path, shape=(8, 8, 6), multiframe=True, dtype="uint8", transfer_syntax=RLELossless)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate(list(generate_frames(dataset.PixelData, number_of_frames=6))[:4])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    assert "can't be decoded" in refusal(path) or "fewer images than NumberOfFrames says" in refusal(path)


@pytest.mark.parametrize("damaged", [b"\0\0", b"\xff\xd8\xff\xd9", bytes(300)])
def test_junk_in_the_place_of_a_picture_is_refused(tmp_path, damaged, capfd):
    (path,) = write_series(tmp_path, shape=(40, 36, 1), dtype="uint8", transfer_syntax=JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([damaged])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    message = refusal(path)
    assert "its pixels are cut short" in message or "says 0 × 0 × 0 of 0 bits: it is damaged" in message
    assert capfd.readouterr() == ("", "")


def test_what_takes_more_than_the_limit_is_refused_before_it_is_decoded(tmp_path):
    paths = write_series(tmp_path, shape=(40, 36, 4))
    assert read(paths, limit=40 * 36 * 4 * 2).values.size == 40 * 36 * 4
    assert "40×36×4×1 values take 0.0 GiB, more than the limit of 0.0 GiB" in refusal(paths, limit=40 * 36 * 4 * 2 - 1)
    (path,) = write_series(tmp_path / "b", shape=(8, 8, 1), dtype="uint8", transfer_syntax=RLELossless)
    damage(path, Rows=65535, Columns=65535, NumberOfFrames=1)
    assert "65,535×65,535×1×1 values take 4.0 GiB" in refusal(path)
    many = write_series(tmp_path / "c", shape=(40, 36, 4), slope=0.1)
    assert "more than the limit" in refusal(many, limit=40 * 36 * 4 * 2)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"BitsAllocated": 12}, "BitsAllocated is 12; 1, 8, 16, 32 or 64 are read here: export the file again"),
        ({"RescaleSlope": [1, 2]}, "RescaleSlope (0028,1053) is not a number; export the file again"),
    ],
)
def test_tags_of_pixels_that_make_no_sense_are_refused(tmp_path, tags, message):
    paths = write_series(tmp_path, shape=(4, 3, 1), **tags)
    assert refusal(paths) == f"{paths[0]}: {message}"


def test_a_file_that_is_gone_or_changed_since_it_was_found_is_refused(tmp_path):
    paths = write_series(tmp_path, shape=(4, 3, 2))
    (series,) = find_series(tmp_path).series
    damage(paths[1], Rows=1, Columns=1)
    with pytest.raises(DataError, match="its pixels aren't 3 × 4 as its tags say"):
        read_series(series)
    paths[1].unlink()
    with pytest.raises(DataError, match=r"IM0002.dcm: can't be read \(No such file or directory\)"):
        read_series(series)
