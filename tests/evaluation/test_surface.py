"""Surface distances against closed forms, against distances taken one by one, and in a report."""

import csv
import json
import sys
from math import hypot, sqrt

import cv2
import numpy as np
import pytest
import torch
import yaml
from scipy import ndimage
from scipy.spatial.distance import cdist

from segkit.artifact import load
from segkit.cli.main import main
from segkit.errors import DataError, UsageError
from segkit.evaluation.report import evaluate
from segkit.evaluation.surface import SurfaceDistances, surface_between

ONE_EACH = np.arange(2)
CELL = ("background", "cell")


def box(shape, *slices):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*ends) for ends in slices)] = True
    return mask


def edge(mask):
    """Pixels of the mask with a neighbour along an axis that isn't; outside of the picture nothing is."""
    padded = np.pad(mask, 1)
    inside = padded.copy()
    for axis in range(mask.ndim):
        inside &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return np.argwhere(padded & ~inside) - 1


def blobs(rng, shape):
    return ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0.05


# One pair of masks


def test_bars_side_by_side_are_as_far_apart_as_they_were_moved():
    a, b = box((9, 9, 9), (1, 2), (2, 3), (0, 8)), box((9, 9, 9), (4, 5), (6, 7), (0, 8))
    away = hypot(3 * 0.5, 4 * 2)
    assert surface_between(a, b, 1, (0.5, 2, 5)) == pytest.approx((away, away, 0))


def test_cubes_one_behind_the_other():
    # Moved by 6 of 4 pixels along the first axis: a pixel of the edge at depth i is 6 - i from the other's front.
    a, b = box((12, 4, 4), (0, 4), (0, 4), (0, 4)), box((12, 4, 4), (6, 10), (0, 4), (0, 4))
    pixels = np.array([16, 12, 12, 16])  # of the edge at each depth; more than 5 % are at 6
    mean = (pixels * [6, 5, 4, 3]).sum() / pixels.sum()
    surface = surface_between(a, b, 1, (3.0, 0.5, 0.7))
    assert surface == pytest.approx((6 * 3.0, mean * 3.0, 0))


def test_overlapping_rectangles_at_a_tolerance():
    # n × m pixels, moved by 2 columns. On its grid of pixel corners an outline has 4 cut corners and straight pieces.
    n, m, dy, dx = 5, 9, 10.0, 1.0
    a, b = box((8, 20), (1, 1 + n), (3, 3 + m)), box((8, 20), (1, 1 + n), (5, 5 + m))
    corner = hypot(dx, dy) / 2
    outline = 4 * corner + 2 * (m - 1) * dx + 2 * (n - 1) * dy
    exactly = 2 * (m - 2) * dx + 2 * corner  # where both have the same edge
    nearly = 2 * (m - 1) * dx + 2 * corner  # all but the ends
    for tolerance, right in ((0, exactly), (1.9, nearly), (2, outline)):
        assert surface_between(a, b, tolerance, (dy, dx)).nsd == pytest.approx(right / outline)


def test_overlapping_boxes_at_no_tolerance():
    n, d, moved = (6, 4, 5), (0.5, 1.0, 3.0), 2
    a = box((12, 6, 7), (1, 7), (1, 5), (1, 6))
    faces = {(i, j): d[i] * d[j] for i in range(3) for j in range(3)}
    cut = {i: d[i] * hypot(*(d[j] / 2 for j in range(3) if j != i)) for i in range(3)}  # a piece of an edge along i
    x, y, z = (length / 2 for length in d)
    corner = sqrt((x * y) ** 2 + (y * z) ** 2 + (z * x) ** 2) / 2
    area = 8 * corner + sum(4 * (n[i] - 1) * cut[i] for i in range(3))
    area += sum(2 * (n[i] - 1) * (n[j] - 1) * faces[i, j] for i, j in ((0, 1), (0, 2), (1, 2)))
    ring = 2 * (n[1] - 1) * faces[0, 1] + 2 * (n[2] - 1) * faces[0, 2] + 4 * cut[0]
    rim = 2 * (n[1] - 1) * cut[1] + 2 * (n[2] - 1) * cut[2] + 4 * corner
    right = (n[0] - moved) * ring + rim
    assert surface_between(np.roll(a, moved, 0), a, 0, d).nsd == pytest.approx(right / area)


@pytest.mark.parametrize(("moved", "step"), [(1, 0.7), (3, 0.7), (3, 0.1), (7, 0.3)])
def test_a_distance_equal_to_the_tolerance_is_within_it(moved, step):
    a = box((20, 20), (2, 8), (2, 8))
    assert surface_between(a, np.roll(a, moved, 1), round(moved * step, 6), (step, step)).nsd == 1


@pytest.mark.parametrize("spacing", [None, (0.7, 0.7, 2.5), (3.0, 1.0, 0.2)])
@pytest.mark.parametrize("shape", [(24, 30), (9, 12, 10)])
def test_the_same_as_distances_taken_one_by_one(shape, spacing):
    rng = np.random.default_rng(0)
    spacing = None if spacing is None else spacing[: len(shape)]
    for _ in range(5):
        guess, truth = blobs(rng, shape), blobs(rng, shape)
        ends = [edge(mask) * np.array(spacing or [1.0] * len(shape)) for mask in (guess, truth)]
        distances = cdist(*ends)
        to_truth, to_guess = distances.min(1), distances.min(0)
        found = surface_between(guess, truth, 1.0, spacing)
        assert found.hd95 == pytest.approx(max(np.percentile(to_truth, 95), np.percentile(to_guess, 95)), rel=1e-5)
        assert found.asd == pytest.approx(np.concatenate([to_truth, to_guess]).mean(), rel=1e-5)


def pieces(mask, dy, dx):
    """The outline's pieces, each in a square between four pixel centres: their places and lengths."""
    padded = np.pad(mask, 1).astype(int)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    count = a + b + c + d
    cut = hypot(dy, dx) / 2
    length = np.where((count == 1) | (count == 3), cut, 0.0)
    length += np.where((count == 2) & (a == d), 2 * cut, 0)
    length += np.where((count == 2) & (a == b), dx, 0) + np.where((count == 2) & (a == c), dy, 0)
    return np.argwhere(length > 0) * [dy, dx], length[length > 0]


def test_the_share_within_the_tolerance_is_of_the_outlines_length():
    rng = np.random.default_rng(1)
    for tolerance in (0, 0.8, 2):
        guess, truth = blobs(rng, (24, 30)), blobs(rng, (24, 30))
        (at, lengths), (true_at, true_lengths) = pieces(guess, 0.7, 1.9), pieces(truth, 0.7, 1.9)
        distances = cdist(at, true_at)
        right = lengths[distances.min(1) <= tolerance].sum() + true_lengths[distances.min(0) <= tolerance].sum()
        expected = right / (lengths.sum() + true_lengths.sum())
        assert surface_between(guess, truth, tolerance, (0.7, 1.9)).nsd == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("shape", [(24, 30), (9, 12, 10)])
def test_the_share_within_the_tolerance_is_monais(shape):
    from monai.metrics import compute_surface_dice

    rng = np.random.default_rng(4)
    for tolerance in (0.0, 0.3, 1.0, 2.5):
        spacing = [float(length) for length in rng.uniform(0.3, 3, len(shape))]
        masks = blobs(rng, shape), blobs(rng, shape)
        tensors = [torch.from_numpy(mask)[None, None] for mask in masks]
        how = {"include_background": True, "use_subvoxels": True, "spacing": spacing}
        expected = compute_surface_dice(*tensors, [tolerance], **how).item()
        assert surface_between(*masks, tolerance, spacing).nsd == pytest.approx(expected, rel=1e-5)


def test_it_does_not_matter_which_is_which_and_the_pictures_edge_is_an_edge():
    rng = np.random.default_rng(2)
    guess, truth = blobs(rng, (20, 20)), blobs(rng, (20, 20))
    there, back = surface_between(guess, truth, 1), surface_between(truth, guess, 1)
    assert there == pytest.approx(back)
    assert there == surface_between(np.pad(guess, 3), np.pad(truth, 3), 1)
    assert surface_between(truth, truth, 0) == (0, 0, 1)


def test_empty_masks():
    nothing, something = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert np.isnan(surface_between(nothing, nothing, 1)).all()
    assert surface_between(nothing, something, 1) == surface_between(something, nothing, 1) == (np.inf, np.inf, 0)


# Cases


def test_missed_and_invented_objects_are_counted_and_score_0():
    square, nothing = box((9, 9), (2, 5), (2, 5)).astype(np.uint8), np.zeros((9, 9), np.uint8)
    cases = SurfaceDistances(CELL, "binary", [1], 1)
    pairs = {"found": (np.roll(square, 2, 1), square), "missed": (nothing, square), "invented": (square, nothing)}
    for name, (labels, target) in {**pairs, "absent": (nothing, nothing)}.items():
        cases.update(name, labels, target)
    result = cases.compute(np.arange(4), "image")
    found = result["per_class"]["cell"]
    assert [found[state] for state in ("measured", "missed", "invented", "absent")] == [1, 1, 1, 1]
    assert found["hd95"] == {"mean": 2, "median": 2, "images": 1}
    assert found["nsd"]["images"] == 3
    assert found["nsd"]["mean"] == pytest.approx(surface_between(*pairs["found"], 1).nsd / 3)
    states = {row["name"]: row["per_class"]["cell"] for row in result["images"]}
    assert states["missed"] == {"state": "missed", "hd95": None, "asd": None, "nsd": 0}
    assert states["absent"] == {"state": "absent", "hd95": None, "asd": None, "nsd": None}
    assert result["groups"] is None
    json.dumps(result, allow_nan=False)


def test_a_patients_cases_are_averaged_before_patients_are():
    bar, cases = box((9, 20), (4, 5), (0, 20)).astype(np.uint8), SurfaceDistances(CELL, "binary", [1], 1)
    for name, moved in {"a": 1, "b": 3, "c": 4}.items():
        cases.update(name, np.roll(bar, moved, 0), bar)
    result = cases.compute(np.array([0, 0, 1]), "group")
    assert result["per_class"]["cell"]["hd95"] == pytest.approx({"mean": 8 / 3, "median": 3, "images": 3})
    assert result["groups"]["per_class"]["cell"]["hd95"] == pytest.approx({"mean": 3, "median": 3, "groups": 2})


def test_pixels_that_are_not_counted_are_in_neither_mask():
    truth = box((12, 12), (3, 9), (3, 9)).astype(np.uint8)
    uncertain = ndimage.binary_dilation(truth, iterations=2) & (truth == 0)
    target = np.where(uncertain, 255, truth).astype(np.uint8)
    cases = SurfaceDistances(CELL, "binary", [1], 0)
    cases.update("a", ndimage.binary_dilation(truth, iterations=2).astype(np.uint8), target)
    assert cases.compute(ONE_EACH[:1], "image")["per_class"]["cell"]["hd95"]["mean"] == 0


def test_a_volume_of_one_slice_is_measured_as_a_picture():
    rows, columns = np.ogrid[:60, :64]
    truth, guess = (((rows - 30) ** 2 + (columns - 30) ** 2 < radius**2).astype(np.uint8) for radius in (24, 20))
    picture, single = SurfaceDistances(CELL, "binary", [1], 1), SurfaceDistances(CELL, "binary", [1], 1)
    picture.update("a", guess, truth, (0.5, 0.7))
    single.update("a", guess[:, None], truth[:, None], (0.5, 9.0, 0.7))
    result = single.compute(ONE_EACH[:1], "image")
    assert result == picture.compute(ONE_EACH[:1], "image")
    assert 2 < result["per_class"]["cell"]["hd95"]["mean"] < 3  # four pixels of 0.5 to 0.7 mm


def test_every_class_of_ids_and_of_maps_by_itself_in_a_volume():
    rng = np.random.default_rng(3)
    names, spacing = ("a", "b", "c"), (1.0, 0.5, 2.0)
    ids, truth = (rng.integers(0, 3, (5, 6, 7)).astype(np.uint8) for _ in range(2))
    truth[0, 0] = 255
    of_ids, of_maps = (SurfaceDistances(names, task, [0, 1, 2], 1) for task in ("multiclass", "multilabel"))
    of_ids.update("v", ids, truth, spacing)
    maps = np.stack([np.where(truth == 255, 255, truth == k) for k in range(3)]).astype(np.uint8)
    of_maps.update("v", np.stack([ids == k for k in range(3)]).astype(np.uint8), maps, spacing)
    result = of_ids.compute(ONE_EACH[:1], "image")
    assert result == of_maps.compute(ONE_EACH[:1], "image")
    assert result["unit"] == "mm"
    for k, name in enumerate(names):
        expected = surface_between((ids == k) & (truth != 255), truth == k, 1, spacing)
        assert result["per_class"][name]["asd"]["mean"] == expected.asd


def test_what_is_refused(monkeypatch):
    for wrong in (-1, np.nan, np.inf):
        with pytest.raises(UsageError, match=rf"surface is {wrong}; expected a tolerance of 0 or more, in mm"):
            SurfaceDistances(CELL, "binary", [1], wrong)
    cases, mask = SurfaceDistances(CELL, "binary", [1], 1), np.ones((3, 3), np.uint8)
    cases.update("a", mask, mask, (1.0, 1.0))
    with pytest.raises(DataError, match="b: measured in px in 2 dimensions, those before it in mm in 2; they can't"):
        cases.update("b", mask, mask)
    monkeypatch.setitem(sys.modules, "monai.metrics", None)
    with pytest.raises(UsageError, match=r'monai is not installed; .* pip install "segkit\[surface\]"'):
        SurfaceDistances(CELL, "binary", [1], 1)


# A report


@pytest.fixture
def dataset(tmp_path):
    """Three pictures of two patients, and another reader's masks: moved by 1 and 3 columns, and none at all."""
    bar = box((24, 24), (4, 20), (10, 11)).astype(np.uint8)
    for folder in ("images", "masks", "reader"):
        (tmp_path / folder).mkdir()
    for name, mask in {"a": np.roll(bar, 1, 1), "b": np.roll(bar, 3, 1), "c": bar * 0}.items():
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), bar)
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), bar)
        cv2.imwrite(str(tmp_path / "reader" / f"{name}.png"), mask)
    description = {"classes": ["background", "vessel"], "splits": {"test": ["a", "b", "c"]}}
    groups = {"one": ["a", "b"], "two": ["c"]}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({**description, "groups": groups}))
    return tmp_path


def test_a_report_with_surface_distances(dataset, tmp_path):
    report = evaluate(dataset / "reader", dataset, surface=1.5)
    folder = report.save(tmp_path / "report")
    found = json.loads((folder / "metrics.json").read_text())["surface"]
    assert found["unit"] == "px"
    assert found["per_class"]["vessel"]["hd95"] == {"mean": 2, "median": 2, "images": 2}
    assert found["per_class"]["vessel"]["nsd"]["images"] == 3
    assert found["groups"]["per_class"]["vessel"]["hd95"] == {"mean": 2, "median": 2, "groups": 1}
    rows = list(csv.DictReader((folder / "per_image.csv").open()))
    assert [row["HD95 px vessel"] for row in rows] == ["1.0", "3.0", ""]
    assert [row["NSD at 1.5 px vessel"] for row in rows][-1] == "0.0"
    assert [row["surface vessel"] for row in rows] == ["measured", "measured", "missed"]
    lines = report.table().splitlines()
    start = lines.index("surface distances")
    assert lines[start + 2].split()[:8] == ["vessel", "HD95", "px", "ASD", "px", "NSD", "at", "1.5"]
    cells = lines[start + 3].split()
    assert cells == ["vessel", "2.0000", "2.0000", *cells[3:7], *"2100"]
    assert "median over groups" in lines[start + 5]
    page = report.page()
    assert "<h2>Surface distances</h2>" in page
    assert "within 1.5 px of the other" in page


def test_nothing_is_measured_unless_asked_for(dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.metrics", None)
    report = evaluate(dataset / "reader", dataset)
    assert report.metrics["surface"] is report.metrics["lesions"] is None
    assert "surface" not in report.table()


def test_an_ensembles_members_are_measured_as_they_would_be_alone(prepared):
    model, how = load(prepared / "runs" / "demo" / "model"), {"surface": 2, "lesions": True, "threshold": 0.45}
    report = evaluate(model, prepared / "cells", "train", **how)
    for name, member in zip(model.names, model.members, strict=True):
        alone = evaluate(member, prepared / "cells", "train", **how).metrics
        assert report.members[name]["surface"] == alone["surface"]
        assert report.members[name]["lesions"] == alone["lesions"]


def test_the_command_line(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["evaluate", str(dataset / "reader"), str(dataset), "--surface", "1.5", "-o", str(out)]) == 0
    assert "NSD at 1.5 px" in capsys.readouterr().out
    assert "NSD at 1.5 px vessel" in (out / "per_image.csv").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("reader . --surface -1", "surface is -1.0; expected a tolerance of 0 or more, in mm (pixels of pictures)"),
        ("reader masks . --surface 1", "--surface and --lesions take one model at a time"),
    ],
)
def test_the_command_line_refuses(dataset, monkeypatch, capsys, words, message):
    monkeypatch.chdir(dataset)
    assert main(["evaluate", *words.split()]) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")
