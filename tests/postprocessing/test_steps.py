"""Every step by hand, their order, and what comes of whole images by rows."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from segkit.errors import RecipeError
from segkit.labels import labels_of
from segkit.postprocessing import strips
from segkit.postprocessing.holes import hole_sizes
from segkit.postprocessing.labelling import smoothed
from segkit.postprocessing.parts import part_sizes
from segkit.postprocessing.settings import Postprocessing
from segkit.postprocessing.steps import postprocess
from segkit.postprocessing.targets import Scale, slice_axis
from segkit.prediction.npy import npy_of

BINARY = {"task": "binary", "classes": ("background", "vessel"), "background": 0}
ORGANS = {"task": "multiclass", "classes": ("background", "liver", "tumour"), "background": 0}
MAPS = {"task": "multilabel", "classes": ("red", "green"), "background": None}


def drawn(*rows):
    """Labels of rows of digits, a dot for 0."""
    return np.array([[int(c) for c in row.replace(".", "0")] for row in rows], np.uint8)


def steps(labels, facts=BINARY, *, spacing=None, **settings):
    """Labels after steps that don't ask for probabilities."""
    axes = labels.ndim - (facts["task"] == "multilabel")
    maps = 1 if facts["task"] == "binary" else len(facts["classes"])
    nothing = np.broadcast_to(np.float32(np.nan), (maps, *labels.shape[-axes:]))
    return postprocess(nothing, labels, settings=Postprocessing(**settings), spacing=spacing, **facts)


def relabelled(p, facts=BINARY, *, spacing=None, threshold=0.5, **settings):
    """Labels after steps that begin with probabilities."""
    plain = labels_of(p, facts["task"])
    asked = Postprocessing(**settings)
    return postprocess(p, plain, settings=asked, spacing=spacing, threshold=threshold, **facts)


def same(found, *rows):
    np.testing.assert_array_equal(found, drawn(*rows))


@pytest.fixture
def few_rows(monkeypatch):
    """Strips of one row or two."""
    monkeypatch.setattr(strips, "PIXELS", 1)


def test_the_largest_part_is_kept_corners_touch():
    found = steps(drawn("11...1", "..1..1", ".....1"), largest=True)
    same(found, "11....", "..1...", "......")  # three and three: the first


def test_of_equal_parts_the_first_row_by_row_is_kept(few_rows):
    same(steps(drawn("...1.1", "1..1.1", "1....."), largest=True), "...1..", "...1..", "......")
    found = steps(drawn("....1", "1...1", "1....", "1...."), largest=True)
    same(found, ".....", "1....", "1....", "1....")


def test_each_class_has_a_largest_part_of_its_own():
    labels = drawn("11.2", "...2", "1..2", "2...")
    same(steps(labels, ORGANS, largest=True), "11.2", "...2", "...2", "....")
    same(steps(labels, ORGANS, largest=["tumour"]), "11.2", "...2", "1..2", "....")


def test_small_parts_are_removed():
    labels = drawn("11.1", "...1", "...1", "1...")
    same(steps(labels, smallest="3 px"), "...1", "...1", "...1", "....")
    same(steps(labels, smallest="2 px"), "11.1", "...1", "...1", "....")
    same(steps(labels, smallest="4.5 mm2", spacing=(1.5, 1.0)), "...1", "...1", "...1", "....")
    assert steps(labels, smallest="5 mm2", spacing=(1.5, 1.0)).max() == 0


def test_sizes_are_by_class():
    labels = drawn("11.2", "...2", ".1..", "...2")
    found = steps(labels, ORGANS, smallest={"liver": "2 px", "*": "3 px"})
    same(found, "11..", "....", "....", "....")


def test_the_largest_part_goes_too_where_it_is_small():
    assert steps(drawn("11.1"), largest=True, smallest="3 px").max() == 0


def test_holes_are_filled_by_the_class_around():
    labels = drawn(
        "111111222",
        "1....1.2.",
        "1.22.12.2",
        "1.22.1222",
        "1....1...",
        "111111...",
    )
    same(
        steps(labels, ORGANS, holes=True),
        "111111222",
        "1....1.2.",  # between two classes, and open at the border
        "1.22.1222",
        "1.22.1222",
        "1....1...",
        "111111...",
    )
    assert np.array_equal(steps(labels, ORGANS, holes={"liver": True}), labels)


def test_a_hole_beside_a_corner_is_closed():
    same(steps(drawn(".1.", "1.1", ".1."), holes=True), ".1.", "111", ".1.")


def test_holes_up_to_a_size():
    labels = drawn("11111111", "1..11..1", "1111...1", "11111111")
    same(steps(labels, holes="2 px"), "11111111", "11111..1", "1111...1", "11111111")
    same(steps(labels, holes="10 mm2", spacing=(2, 1)), "11111111", *["11111111"] * 3)


def test_a_volume_has_holes_in_three_dimensions():
    ring = np.ones((3, 3, 3), np.uint8)
    ring[1, 1, 1] = 0
    assert steps(ring, holes=True).min() == 1
    ring[0, 1, 1] = 0  # open above: in each plane it is a hole, in the volume it isn't
    assert np.array_equal(steps(ring, holes=True), ring)


def test_a_volume_s_parts_touch_at_corners_and_are_measured_by_its_spacing():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[3, 3, 3] = 1
    assert np.argwhere(steps(labels, largest=True)).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert steps(labels, smallest="2.4 mm3", spacing=(0.5, 0.6, 4.0)).sum() == 2
    assert steps(labels, smallest="2.5 mm3", spacing=(0.5, 0.6, 4.0)).sum() == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_a_single_slice_is_a_picture(axis):
    flat = drawn("1111.1", "1..1..", "1111.1")
    labels, spacing = np.expand_dims(flat, axis), tuple(np.insert([0.5, 1.0], axis, 4.0))
    found = steps(labels, smallest="1 mm2", holes="1 mm2", spacing=spacing)
    same(found.squeeze(axis), "1111..", "1111..", "1111..")
    assert found.shape == labels.shape
    assert (
        steps(labels, holes="3.9 mm3", spacing=spacing).sum() == steps(labels, holes="4 mm3", spacing=spacing).sum() - 2
    )
    p = np.random.default_rng(0).random((2, *flat.shape), np.float32)
    asked = {"settings": Postprocessing(smoothing="0.7 mm"), **MAPS}
    whole = postprocess(np.expand_dims(p, 1 + axis), np.expand_dims(p > 0.5, 1 + axis), spacing=spacing, **asked)
    np.testing.assert_array_equal(whole.squeeze(1 + axis), postprocess(p, p > 0.5, spacing=(0.5, 1.0), **asked))


def test_maps_are_each_on_their_own():
    labels = np.stack([drawn("11.1", "...."), drawn("1.11", "....")])
    found = steps(labels, MAPS, largest=True)
    np.testing.assert_array_equal(found, [drawn("11..", "...."), drawn("..11", "....")])
    found = steps(labels, MAPS, largest=["green"])
    np.testing.assert_array_equal(found, [labels[0], drawn("..11", "....")])
    found = steps(np.stack([drawn("111", "1.1", "111"), drawn("111", "1.1", "111")]), MAPS, holes={"red": True})
    np.testing.assert_array_equal(found, [np.ones((3, 3)), drawn("111", "1.1", "111")])


def test_a_background_need_not_be_0():
    facts = {"task": "multiclass", "classes": ("liver", "tumour", "rest"), "background": 2}
    labels = drawn("0002", "0202", "0001", "2211")
    same(steps(labels, facts, smallest={"tumour": "4 px"}, holes=True), "0002", "0002", "0002", "2222")


def test_thresholds_of_classes():
    p = np.array([[0.3, 0.5, 0.7]], np.float32)[None]
    low, high = relabelled(p, thresholds={"vessel": 0.3}), relabelled(p, thresholds=0.7)
    assert (low.tolist(), high.tolist()) == ([[1, 1, 1]], [[0, 0, 1]])
    two = np.concatenate([p, p])
    found = relabelled(two, MAPS, thresholds={"green": 0.7}, threshold=0.3)
    assert found.tolist() == [[[1, 1, 1]], [[0, 0, 1]]]
    each = np.array([0.5, 0.1], np.float32)[:, None, None]
    found = relabelled(two, MAPS, thresholds={"green": 0.7}, threshold=each)
    assert found.tolist() == [[[0, 1, 1]], [[0, 0, 1]]]


@pytest.mark.parametrize(
    ("pixel", "thresholds", "background", "label"),
    [
        ((0.1, 0.5, 0.4), {}, 0, 1),
        ((0.1, 0.5, 0.4), {"liver": 0.5}, 0, 1),
        ((0.1, 0.5, 0.4), {"liver": 0.6}, 0, 2),  # the most probable of the other candidates
        ((0.1, 0.5, 0.4), {"*": 0.6}, 0, 0),  # the background always is one
        ((0.1, 0.5, 0.4), {"liver": 0.6, "tumour": 0.3}, 0, 2),
        ((0.1, 0.5, 0.4), {"liver": 0.6, "tumour": 0.3}, None, 2),
        ((0.1, 0.5, 0.4), {"*": 0.6}, None, 1),  # no candidate: the most probable
        ((0.4, 0.2, 0.4), {"*": 0.3}, 0, 0),  # the first of equals
    ],
)
def test_thresholds_among_classes(pixel, thresholds, background, label):
    p = np.array(pixel, np.float32).reshape(3, 1, 1)
    assert relabelled(p, {**ORGANS, "background": background}, thresholds=thresholds).tolist() == [[label]]


def test_smoothing_averages_probabilities():
    p = np.zeros((1, 9, 9), np.float32)
    p[0, 4, 4] = 1
    centre = 1 / sum(np.exp(-(np.arange(-4, 5) ** 2) / 2)) ** 2  # of a Gaussian of one pixel's deviation, 0.159
    for offset, expected in ((0.001, 1), (-0.001, 0)):
        assert relabelled(p, smoothing="1 px", thresholds=float(centre) - offset).sum() == expected
    assert (relabelled(p).sum(), relabelled(p, smoothing="1 px").sum()) == (1, 0)


def test_smoothing_leaves_what_is_even_up_to_the_border():
    p = np.full((1, 5, 7), 0.5, np.float32)
    assert relabelled(p, smoothing="3 px", thresholds=0.4999).min() == 1
    assert relabelled(p, smoothing="3 px", thresholds=0.5001).max() == 0


def test_smoothing_in_millimetres_reaches_as_far_along_every_axis():
    spacing = (4.0, 2.0, 1.0)
    p = np.zeros((1, 11, 21, 41), np.float32)
    p[0, 5, 10, 20] = 1
    found = smoothed(p, Scale(p.shape[1:], spacing).deviations("4 mm"), slice(0, 11))[0]
    for place in ((6, 10, 20), (5, 8, 20), (5, 10, 24)):  # 4 mm away, one deviation
        assert found[place] / found[5, 10, 20] == pytest.approx(np.exp(-0.5), rel=1e-5)
    near = float(found[5, 10, 24])
    labels = relabelled(p, smoothing="4 mm", thresholds=near * 0.999, spacing=spacing)
    assert [labels[place] for place in ((6, 10, 20), (5, 8, 20), (5, 10, 24), (7, 10, 20), (5, 10, 25))] == [
        1,
        1,
        1,
        0,
        0,
    ]


def test_the_order_of_steps():
    """Each step sees what the ones before it left."""
    p = np.zeros((1, 5, 12), np.float32)
    p[0, :, :5] = 0.6
    p[0, 2, 2] = 0.0
    p[0, :, 7:11] = 0.45
    p[0, 2, 8] = 0.9
    labels = (p[0] >= 0.5).astype(np.uint8)
    found = postprocess(p, labels, settings=Postprocessing(thresholds=0.4, largest=True, holes=True), **BINARY)
    assert found[:, :5].all()  # 24 pixels before its hole is filled are more than 20
    assert found.sum() == 25
    smaller = Postprocessing(thresholds=0.4, smallest="25 px", holes=True)
    assert postprocess(p, labels, settings=smaller, **BINARY).sum() == 0  # sizes are those with the hole
    assert postprocess(p, labels, settings=Postprocessing(smallest="2 px"), **BINARY).sum() == 24


def test_inputs_stay_as_they_are():
    p = np.random.default_rng(0).random((1, 12, 9), np.float32)
    labels = (p[0] >= 0.5).astype(np.uint8)
    kept = p.copy(), labels.copy()
    settings = Postprocessing(smoothing="1 px", thresholds=0.4, largest=True, smallest="3 px", holes=True)
    postprocess(p, labels, settings=settings, **BINARY)
    steps(labels, largest=True, smallest="3 px", holes=True)
    np.testing.assert_array_equal(p, kept[0])
    np.testing.assert_array_equal(labels, kept[1])
    assert postprocess(p, labels, settings=Postprocessing(), **BINARY) is labels


def test_wrong_settings_are_refused():
    with pytest.raises(RecipeError, match="no foreground class 'artery'"):
        steps(drawn("1"), largest=["artery"])
    with pytest.raises(RecipeError, match="smallest: 5 mm2, but nothing says how large"):
        steps(drawn("1"), smallest="5 mm2")


def test_files_by_rows_are_as_arrays(tmp_path, few_rows):
    p = np.random.default_rng(0).random((2, 20, 30), np.float32)
    labels = (p >= 0.5).astype(np.uint8)
    for name, values in (("p", p), ("labels", labels)):
        np.save(tmp_path / f"{name}.npy", values)
    files = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("p", "labels"))
    settings = Postprocessing(smoothing="1 px", largest=True, smallest="3 px", holes=True)
    found = postprocess(*files, settings=settings, **MAPS, keep=partial(npy_of, path=tmp_path / "labels.npy"))
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, postprocess(p, labels, settings=settings, **MAPS))


def sliced(labels):
    """A volume of a single slice as a picture."""
    alone = slice_axis(labels.shape)
    return labels if alone is None else labels.squeeze(alone)


MASKS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=9), elements=st.integers(0, 1))
LABELS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=9), elements=st.integers(0, 3))
ROWS = st.sampled_from([1, 12, 50, 1 << 22])


@given(mask=MASKS, pixels=ROWS, least=st.integers(1, 6))
def test_parts_and_holes_are_those_of_scipy(mask, pixels, least):
    everywhere = np.ones((3,) * mask.ndim)
    ids, count = ndimage.label(mask, everywhere)
    sizes = np.bincount(ids.ravel(), minlength=count + 1)[1:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "PIXELS", pixels)
        np.testing.assert_array_equal(
            steps(mask, smallest=f"{least} px"), np.isin(ids, 1 + np.flatnonzero(sizes >= least))
        )
        filled = ndimage.binary_fill_holes(sliced(mask)).reshape(mask.shape)
        np.testing.assert_array_equal(steps(mask, holes=True), filled)
        assert sorted(part_sizes(mask, 1)) == sorted(sizes)
        largest = steps(mask, largest=True)
    equals = [ids == 1 + k for k in np.flatnonzero(sizes == sizes.max())] if count else [ids > 0]
    np.testing.assert_array_equal(largest, min(equals, key=lambda part: np.flatnonzero(part).tolist()[:1]))


@given(labels=LABELS, pixels=ROWS, size=st.integers(1, 4))
def test_holes_of_several_classes_are_those_around(labels, pixels, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "PIXELS", pixels)
        facts = {"task": "multiclass", "classes": "abcd", "background": 2}
        found = steps(labels, facts, holes={"a": True, "b": f"{size} px"})
        sizes = [sorted(hole_sizes(sliced(labels), k, 2).tolist()) for k in (0, 1, 3)]
    labels, found = sliced(labels), sliced(found)
    expected, met = labels.copy(), {0: [], 1: [], 3: []}
    ids, count = ndimage.label(labels == 2)
    for k in range(1, count + 1):
        hole = np.pad(ids == k, 1)
        around = np.pad(labels.astype(int), 1, constant_values=9)[ndimage.binary_dilation(hole) & ~hole]
        if len(set(around.tolist())) == 1 and around[0] != 9:
            met[around[0]].append(hole.sum())
            if around[0] == 0 or (around[0] == 1 and hole.sum() <= size):
                expected[ids == k] = around[0]
    np.testing.assert_array_equal(found, expected)
    assert sizes == [sorted(each) for each in met.values()]


@given(st.integers(0, 5), ROWS, st.sampled_from([0.3, 1.0, 2.5, 20.0]), st.sampled_from(["binary", "multiclass"]))
def test_smoothing_by_rows_is_that_of_the_whole(seed, pixels, deviation, task):
    facts = BINARY if task == "binary" else ORGANS
    p = np.random.default_rng(seed).random((1 if task == "binary" else 3, 11, 8), np.float32)
    kernel = np.exp(-((np.arange(-11, 12)[:, None] ** 2) / (2 * deviation**2)))
    kernel[np.abs(np.arange(-11, 12)) > int(4 * deviation + 0.5)] = 0
    near = [np.array([[kernel[i - j + 11, 0] for j in range(n)] for i in range(n)]) for n in p.shape[1:]]
    down, across = (each / each.sum(1, keepdims=True) for each in near)
    smooth = down @ p.astype(np.float64) @ across.T
    clear = np.abs(smooth - 0.5).min(0) > 1e-5
    if task == "multiclass":
        clear = np.subtract(*np.sort(smooth, axis=0)[-1:-3:-1]) > 1e-5
    expected = smooth.argmax(0) if task == "multiclass" else smooth[0] >= 0.5
    whole = relabelled(p, facts, smoothing=f"{deviation} px")
    np.testing.assert_array_equal(whole[clear], expected[clear])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "PIXELS", pixels)
        np.testing.assert_array_equal(relabelled(p, facts, smoothing=f"{deviation} px"), whole)
