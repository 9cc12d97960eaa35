import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from segkit.data.depth import measured_depth, read_depth, resized_depth, stored_values, zoomed_depth
from segkit.data.depth_format import DepthFormat
from segkit.data.reader import Reader
from segkit.errors import DataError, UsageError

MM = DepthFormat(unit="mm")
METRES = DepthFormat(unit="m")
RELATIVE = DepthFormat(unit="relative")
DISPARITY = DepthFormat(unit="disparity", focal_baseline=120)


def write(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".png":
        cv2.imwrite(str(path), values[..., ::-1] if values.ndim == 3 else values)
    else:
        tifffile.imwrite(path, values, photometric="minisblack")
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "uint8"),
        ("a.png", "uint16"),
        ("a.tif", "uint8"),
        ("a.tiff", "uint16"),
        ("a.tif", "float32"),
        ("a.npy", "uint8"),
        ("a.npy", "uint16"),
        ("a.npy", "int32"),
        ("a.npy", "int64"),
        ("a.npy", "float16"),
        ("a.npy", "float32"),
        ("a.npy", "float64"),
        ("a.npy", ">f4"),
    ],
)
def test_every_kind_of_file_gives_metres_and_where_they_were_measured(tmp_path, name, kind):
    values = np.array([[0, 1, 2], [50, 128, 250]]).astype(kind)
    depth = read_depth(write(tmp_path / name, values), MM)
    assert depth.dtype == np.float32
    assert depth.shape == (2, 3, 2)
    assert np.array_equal(depth[..., 0], np.array([[0, 0.001, 0.002], [0.05, 0.128, 0.25]], np.float32))
    assert depth[..., 1].tolist() == [[0, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize("name", ["a.tif", "a.npy"])
def test_nan_and_infinity_are_never_measured(tmp_path, name):
    values = np.array([[np.nan, np.inf, -np.inf, 2.5, -1, 0]], np.float32)
    depth = read_depth(write(tmp_path / name, values), METRES)
    assert depth.tolist() == [[[0, 0], [0, 0], [0, 0], [2.5, 1], [0, 0], [0, 0]]]


def test_of_what_is_relative_values_stay_as_they_are_and_negative_ones_too():
    values = np.array([[-3, 0, 65535]], np.int32)
    assert measured_depth(values, RELATIVE).tolist() == [[[-3, 1], [0, 0], [65535, 1]]]
    anything = DepthFormat(unit="relative", invalid=())
    assert measured_depth(values, anything)[..., 1].tolist() == [[1, 1, 1]]


def test_several_channels_are_measured_unless_all_are_invalid_or_one_is_not_finite(tmp_path):
    values = np.array([[[0, 0, 0], [0, 5, 0], [1, 2, 3]]], np.float32)
    depth = read_depth(write(tmp_path / "a.npy", values), RELATIVE)
    assert depth.tolist() == [[[0, 0, 0, 0], [0, 5, 0, 1], [1, 2, 3, 1]]]
    values[0, 2, 1] = np.nan
    assert measured_depth(values, RELATIVE)[0, 2].tolist() == [0, 0, 0, 0]
    picture = read_depth(write(tmp_path / "a.png", values[:, :2].astype(np.uint8)), RELATIVE)
    assert picture.tolist() == depth[:, :2].tolist()


@pytest.mark.parametrize("kind", ["int32", "uint16", "float32", "float64"])
def test_further_values_can_mean_not_measured(kind):
    values = np.array([[1, 7, 65535]]).astype(kind)
    depth = measured_depth(values, DepthFormat(unit="mm", invalid=(7, 65535, 70_000)))
    assert depth[..., 1].tolist() == [[1, 0, 0]]


def test_an_invalid_value_that_float32_rounds_is_known_in_a_file_of_float32():
    values = np.array([[-9999.9, 0.1, 3]], np.float32)
    depth = measured_depth(values, DepthFormat(unit="relative", invalid=(-9999.9, 0.1)))
    assert depth[..., 1].tolist() == [[0, 0, 1]]


def test_metres_are_what_focal_length_and_baseline_make_of_disparity():
    depth = measured_depth(np.array([[60, 0, -4, 480]], np.float32), DISPARITY)
    assert depth.tolist() == [[[2, 1], [0, 0], [0, 0], [0.25, 1]]]


def test_what_is_too_far_for_a_number_is_not_measured():
    assert measured_depth(np.array([[1e-300]]), DISPARITY).tolist() == [[[0, 0]]]
    assert measured_depth(np.array([[1e300]]), METRES).tolist() == [[[0, 0]]]


@settings(deadline=None)
@given(hnp.arrays(np.uint32, (3, 4), elements=st.integers(0, 6_000_000)))
def test_one_map_in_mm_in_tenths_and_in_metres_gives_the_same_bits(values):
    expected = measured_depth(values, MM)
    single = values.astype(np.float32) / np.float32(1000)
    assert np.array_equal(measured_depth(10 * values, DepthFormat(unit="0.1mm")), expected)
    for metres in (single, values / 1000, values * 0.001):
        assert np.array_equal(measured_depth(metres, METRES), expected)


@pytest.mark.parametrize(
    ("unit", "stored", "metres"),
    [("0.2mm", 5000, 1.0), ("3.90625mm", 640, 2.5), ("2m", 3, 6.0), ("10mm", 150, 1.5), ("0.125m", 12, 1.5)],
)
def test_a_unit_may_be_so_many_millimetres_or_metres(unit: str, stored: int, metres: float):
    values = np.full((2, 3), stored, np.uint16)
    assert measured_depth(values, DepthFormat(unit=unit))[..., 0].tolist() == [[metres] * 3] * 2


@pytest.mark.parametrize("unit", ["0mm", "0.0m", "-1mm", ".1mm", "1e3mm", "mm0.1", "1 mm", "nanmm", 5000, None, ["mm"]])
def test_what_is_no_number_of_them_is_no_unit(unit: object):
    with pytest.raises(UsageError, match=r"DepthFormat\.unit: expected mm, m, so many of them such as 0\.1mm"):
        DepthFormat(unit=unit)


def test_what_no_format_has_is_refused_in_one_line():
    said = (
        "DepthFormat.unit: expected mm, m, so many of them such as 0.1mm, disparity or relative (found 'cm')",
        "DepthFormat.invalid.0: input should be a finite number (found nan)",
        "DepthFormat.units: extra inputs are not permitted (found 'mm')",
    )
    for wrong, message in zip(({"unit": "cm"}, {"invalid": (math.nan,)}, {"units": "mm"}), said, strict=True):
        with pytest.raises(UsageError) as caught:
            DepthFormat(**{"unit": "mm", **wrong})
        assert str(caught.value) == message
    with pytest.raises(UsageError, match=r"Reader\.channels: input should be greater than or equal to 1 \(found 0\)"):
        Reader(channels=0)
    with pytest.raises(ValidationError, match=r"depth\.unit"):  # as part of a file it is told where
        Reader.model_validate({"depth": {"unit": "cm"}})


def test_the_formats_contradictions_are_refused():
    with pytest.raises(UsageError, match="disparity needs focal_baseline"):
        DepthFormat(unit="disparity")
    with pytest.raises(UsageError, match="focal_baseline is for disparity; the unit is mm"):
        DepthFormat(unit="mm", focal_baseline=3)
    with pytest.raises(UsageError, match="finite"):
        DepthFormat(unit="mm", invalid=(float("nan"),))
    assert [DepthFormat(unit=unit).metric for unit in ("mm", "m", "0.1mm", "relative")] == [True, True, True, False]
    assert DISPARITY.metric
    assert DepthFormat.model_validate(DISPARITY.model_dump()) == DISPARITY


def test_files_that_are_no_depth_are_named(tmp_path):
    def told(name, depth_format=MM, **options):
        with pytest.raises(DataError) as caught:
            read_depth(tmp_path / name, depth_format, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(str(tmp_path))

    write(tmp_path / "colour.png", np.zeros((2, 3, 3), np.uint8))
    assert told("colour.png") == (
        "/colour.png: 3 channels; depth in mm has one: export the map itself, not a picture of it, or say "
        "'depth_unit: relative' of what is no depth"
    )
    assert told("gone.npy") == "/gone.npy: no such file"
    assert told("gone.png") == "/gone.png: no such file"
    (tmp_path / "empty.npy").touch()
    assert told("empty.npy") == "/empty.npy: the file is empty; copy or export it again"
    whole = write(tmp_path / "whole.npy", np.ones((20, 30))).read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-9])
    assert told("cut.npy") == "/cut.npy: the file is cut short; copy or export it again"
    (tmp_path / "text.npy").write_bytes(b"depth")
    assert told("text.npy").startswith("/text.npy: can't be read as an array (")
    np.save(tmp_path / "objects.npy", np.array([[{}]]), allow_pickle=True)
    assert "objects.npy: can't be read as an array (" in told("objects.npy")
    np.save(tmp_path / "flags.npy", np.ones((2, 2), bool))
    assert told("flags.npy") == "/flags.npy: values of type bool are no depth; save integers or floats"
    np.save(tmp_path / "line.npy", np.ones(5))
    assert told("line.npy") == ("/line.npy: an array of 5; expected height × width, or height × width × channels")
    assert "take 0.0 GiB to decode at once, more than the limit" in told("whole.npy", limit=100)


def test_values_lie_as_stored_in_columns_or_rows(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "a.npy", np.asfortranarray(values))
    assert stored_values(tmp_path / "a.npy")[..., 0].tolist() == values.tolist()


def covers(cell, cells, side):
    """What share of each pixel's unit length a cell covers."""
    low, high = Fraction(cell * side, cells), Fraction((cell + 1) * side, cells)
    return [max(Fraction(0), min(high, Fraction(pixel + 1)) - max(low, Fraction(pixel))) for pixel in range(side)]


def by_hand(depth, size):
    """The rule of holes and means, in fractions; no zoom."""
    height, width = depth.shape[:2]
    found = np.zeros((*size, depth.shape[2]))
    for i in range(size[0]):
        for j in range(size[1]):
            areas = np.array([[a * b for b in covers(j, size[1], width)] for a in covers(i, size[0], height)])
            measured = areas * depth[..., -1].astype(int)
            if 2 * measured.sum() >= areas.sum():
                values = (measured[..., None] * depth[..., :-1]).sum(axis=(0, 1)) / measured.sum()
                found[i, j] = [*values, 1]
    return found


@st.composite
def maps(draw, channels=1):
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    values = draw(hnp.arrays(np.float32, (height, width, channels), elements=st.floats(0.5, 8, width=32)))
    valid = draw(hnp.arrays(np.bool_, (height, width, 1)))
    return np.concatenate([values * valid, valid], axis=2).astype(np.float32)


sizes = st.tuples(st.integers(1, 8), st.integers(1, 8))


@settings(deadline=None)
@given(maps(channels=2), sizes)
def test_a_cell_is_the_mean_of_what_is_measured_where_half_of_it_is(depth, size):
    found = resized_depth(depth, size, metric=False)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(depth, size), rtol=1e-5)


@settings(deadline=None)
@given(maps(), sizes)
def test_zooming_the_picture_by_s_divides_metres_by_s(depth, size):
    s = (size[0] / depth.shape[0] * size[1] / depth.shape[1]) ** 0.5
    near, plain = resized_depth(depth, size, metric=True), resized_depth(depth, size, metric=False)
    np.testing.assert_allclose(near[..., 0], plain[..., 0] / s, rtol=1e-5)
    assert np.array_equal(near[..., 1], plain[..., 1])


@settings(deadline=None)
@given(maps(), sizes)
def test_holes_never_blend_into_what_is_around_them(depth, size):
    found = resized_depth(depth, size, metric=False)
    values, inside = depth[..., 0][depth[..., 1] > 0], found[..., 0][found[..., 1] > 0]
    if inside.size:
        assert values.min() * (1 - 1e-6) <= inside.min() <= inside.max() <= values.max() * (1 + 1e-6)
    assert (found[found[..., 1] == 0] == 0).all()


@settings(deadline=None)
@given(maps(), sizes)
def test_flipping_before_and_after_is_the_same(depth, size):
    for axis in (0, 1):
        flipped = resized_depth(np.flip(depth, axis).copy(), size, metric=True)
        np.testing.assert_allclose(flipped, np.flip(resized_depth(depth, size, metric=True), axis), rtol=1e-5)


def test_the_same_size_is_the_same_map_and_a_multiple_repeats_values_exactly():
    depth = measured_depth(np.random.default_rng(0).integers(0, 5, (5, 7)), DepthFormat(unit="mm"))
    assert resized_depth(depth, (5, 7), metric=True) is depth
    larger = resized_depth(depth, (15, 14), metric=False)
    assert np.array_equal(larger, depth.repeat(3, axis=0).repeat(2, axis=1))
    planes = torch.from_numpy(depth).permute(2, 0, 1)[None]
    assert torch.equal(
        zoomed_depth(planes, (10, 14), True)[:, :1], planes[:, :1].repeat_interleave(2, 2).repeat_interleave(2, 3) / 2
    )


def test_batches_zoom_picture_by_picture_in_their_own_type():
    rng = np.random.default_rng(0)
    batch = torch.from_numpy(rng.random((3, 2, 9, 11), np.float32))
    batch[:, 1] = batch[:, 1].round()
    batch[:, 0] *= batch[:, 1]
    found = zoomed_depth(batch, (4, 7), True)
    for one, alone in zip(found, batch, strict=True):
        assert torch.equal(one, zoomed_depth(alone[None], (4, 7), True)[0])
    assert zoomed_depth(batch.half(), (4, 7), True).dtype == torch.float16


@pytest.mark.parametrize(("name", "metric", "low", "high"), [("tools", True, 0.3, 3), ("pothole", False, 64, 65535)])
def test_real_depth_reads(shared, name, metric, low, high):
    from segkit.data.folder import open_dataset

    folder = open_dataset(shared / f"rgbd_{name}")
    assert folder.depth_format is not None
    assert folder.depth_format.metric == metric
    for sample in folder.samples("test")[:5]:
        raw = cv2.imread(str(sample.depth), cv2.IMREAD_UNCHANGED)
        depth = folder.read_depth(sample, raw.shape)
        assert np.array_equal(depth[..., 1], raw > 0)
        measured = depth[..., 0][raw > 0]
        assert low <= measured.min() <= measured.max() <= high
        assert np.array_equal(np.rint(measured * (1000 if metric else 1)), raw[raw > 0])


def test_no_numbers_where_nothing_is_measured_spoil_nothing():
    depth = torch.rand(1, 2, 8, 8)
    depth[:, 1] = 1
    depth[0, 1, 2, 3] = 0
    depth[0, 0, 2, 3] = 0
    expected = zoomed_depth(depth, (3, 5), True)
    depth[0, 0, 2, 3] = torch.nan
    assert torch.equal(zoomed_depth(depth, (3, 5), True), expected)
