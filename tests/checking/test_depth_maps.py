"""What can be wrong with depth."""

import numpy as np
import pytest
import tifffile

import segkit
from segkit.checking.findings import KINDS

METRE = np.full((64, 64), 1000, np.uint16)


@pytest.fixture
def deep(cells):
    """The drawn dataset with depth in mm of every picture."""
    for name in (*cells.train, *cells.val, *cells.test):
        cells.write(f"depth/{name}.png", METRE)
    cells.describe(depth_unit="mm")
    return cells


def test_depth_as_it_should_be_is_a_line_of_the_report(deep, found):
    holed = METRE.copy()
    holed[:, :32] = 0
    deep.write(f"depth/{deep.train[0]}.png", holed)
    assert found(deep.path, notes=True) == {}
    report = segkit.check(deep.path)
    assert "\n  12 with depth, 96 % of it measured, its middle at 1 m\n" in report.table()
    assert report.looked_at["depth"] == {"maps": 12, "unit": "mm", "measured": pytest.approx(23 / 24), "middle": 1.0}
    deep.describe(depth_unit="relative")
    assert "\n  12 with depth, 96 % of it measured\n" in segkit.check(deep.path).table()


def test_without_depth_nothing_is_said_of_it(cells, found):
    assert found(cells.path, notes=True) == {}
    assert segkit.check(cells.path).looked_at["depth"] is None


def test_a_missing_unit_is_told_once(deep, found):
    deep.describe(depth_unit=None)
    assert found(deep.path, notes=True) == {"no_depth_unit": ["dataset.yaml (depth/ has 12 maps)"]}


def test_pictures_without_depth_and_depth_without_a_picture(deep, found):
    (deep.path / f"depth/{deep.train[2]}.png").rename(deep.path / "depth/ghost.png")
    assert found(deep.path, notes=True) == {"no_depth": [deep.train[2]], "depth_alone": ["depth/ghost"]}


def test_maps_in_which_nothing_is_measured(deep, found):
    deep.write(f"depth/{deep.val[0]}.png", 0 * METRE)
    assert found(deep.path) == {"nothing_measured": [f"depth/{deep.val[0]}.png"]}
    deep.describe(depth_invalid=[1000])
    assert len(found(deep.path)["nothing_measured"]) == 12


@pytest.mark.parametrize(("unit", "told"), [("m", "in m the middle is 1e+03 m"), ("mm", None), ("relative", None)])
def test_a_unit_that_makes_distances_no_camera_measures(deep, found, unit, told):
    deep.describe(depth_unit=unit)
    assert found(deep.path, notes=True) == ({"depth_scale": [f"depth/ ({told})"]} if told else {})


def test_distances_below_five_centimetres_are_told_too(deep, found):
    deep.describe(depth_unit="disparity", depth_focal_baseline=10)
    assert found(deep.path) == {"depth_scale": ["depth/ (in disparity the middle is 0.01 m)"]}


def test_single_maps_in_another_unit_are_named(deep, found):
    cut, metres, near = deep.train[:3]
    deep.write(f"depth/{cut}.png", (METRE >> 8).astype(np.uint8))
    (deep.path / f"depth/{metres}.png").unlink()
    np.save(deep.path / f"depth/{metres}.npy", np.ones((64, 64), np.float32))
    deep.write(f"depth/{near}.png", METRE // 15)
    assert found(deep.path) == {
        "depth_unlike": [
            f"depth/{cut}.png (its middle is 0.003 m, that of most 1 m)",
            f"depth/{metres}.npy (its middle is 0.001 m, that of most 1 m)",
        ],
        "depth_coarse": [f"depth/{cut}.png (8 bits, in mm)"],
    }
    deep.describe(depth_unit="relative")
    assert found(deep.path) == {}


def test_maps_that_are_not_what_the_unit_says_cannot_be_used(deep, found):
    first, second, third = deep.train[:3]
    deep.write(f"depth/{first}.png", np.zeros((64, 64, 3), np.uint8))
    (deep.path / f"depth/{second}.png").unlink()
    np.save(deep.path / f"depth/{second}.npy", np.ones((64, 64), bool))
    deep.write(f"depth/{third}.png", METRE[:32])
    told = found(deep.path)
    assert told["unreadable"] == [
        f"depth/{first}.png (3 channels; depth in mm has one: export the map itself, not a picture of it, or say "
        "'depth_unit: relative' of what is no depth)",
        f"depth/{second}.npy (values of type bool are no depth; save integers or floats)",
    ]
    assert told["depth_size"] == [f"depth/{third}.png (64×32, its picture 64×64)"]


def test_numbers_of_channels_that_differ(deep, found):
    deep.describe(depth_unit="relative")
    deep.write(f"depth/{deep.train[1]}.png", np.full((64, 64, 3), 9, np.uint8))
    assert found(deep.path) == {"depth_channels": [f"depth/{deep.train[1]}.png (3, the first has 1)"]}


def test_nan_is_not_measured_and_another_cameras_depth_may_have_any_size(deep, found):
    camera = {"fx": 60, "fy": 60, "cx": 31.5, "cy": 31.5}
    (deep.path / f"depth/{deep.train[0]}.png").unlink()
    tifffile.imwrite(deep.path / f"depth/{deep.train[0]}.tif", np.full((32, 48), np.nan, np.float32))
    assert set(found(deep.path)) == {"depth_size", "nothing_measured"}
    rig = {"intrinsics": camera, "depth_intrinsics": camera, "depth_to_colour": np.eye(4).tolist()}
    deep.describe(**rig)
    assert set(found(deep.path)) == {"nothing_measured"}


def test_what_contradicts_itself_about_depth_leaves_the_classes_alone(deep, found):
    deep.describe(depth_unit="disparity", background="nucleus")
    told = found(deep.path)["description"]
    assert [one.split(":")[0] for one in told] == ["dataset.yaml (background", "dataset.yaml (depth_unit"]
    deep.describe(depth_unit="disparity", background=None)
    assert list(found(deep.path)) == ["description", "no_depth_unit"]


def test_advice_on_depth_is_a_sentence():
    kinds = ("no_depth_unit", "depth_scale", "nothing_measured", "depth_alone", "no_depth", "depth_channels")
    assert [KINDS[kind].severity for kind in kinds] == ["warning"] * 4 + ["note", "error"]


@pytest.mark.parametrize("name", ["rgbd_tools", "rgbd_pothole"])
def test_real_depth_has_nothing_wrong(shared, found, name):
    told = found(shared / name, notes=True)
    assert not {"no_depth_unit", "depth_scale", "nothing_measured", "unreadable", "depth_size", "no_depth"} & set(told)


def test_distances_in_bytes_are_told(deep, found):
    for name in (*deep.train, *deep.val, *deep.test):
        deep.write(f"depth/{name}.png", np.full((64, 64), 2, np.uint8))
    deep.describe(depth_unit="m")
    assert set(found(deep.path)) == {"depth_coarse"}
    deep.describe(depth_unit="relative")
    assert found(deep.path) == {}


def test_values_at_the_end_of_the_type_are_told_unless_they_are_invalid(deep, found):
    saturated = METRE.copy()
    saturated[:3] = 65535
    deep.write(f"depth/{deep.train[0]}.png", saturated)
    assert set(found(deep.path)) == {"depth_saturated"}
    deep.describe(depth_unit="mm", depth_invalid=[0, 65535])
    assert found(deep.path) == {}


def test_depth_of_another_camera_that_misses_its_picture_is_told(deep, found):
    camera = {"fx": 60, "fy": 60, "cx": 31.5, "cy": 31.5}
    rig = {"intrinsics": camera, "depth_intrinsics": camera, "depth_to_colour": np.eye(4).tolist()}
    deep.describe(**rig)
    assert found(deep.path) == {}
    deep.describe(**{**rig, "intrinsics": {**camera, "cx": 500}})
    assert set(found(deep.path)) == {"depth_beside"}
