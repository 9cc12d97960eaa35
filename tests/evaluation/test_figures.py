"""Figures put dots where the numbers are, and stay whole with few numbers."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from segkit.evaluation.figures import (
    _ticks,
    interval_chart,
    pair_chart,
    reliability_diagram,
    risk_coverage,
    score_histogram,
    threshold_curves,
)


def bins(*values):
    count = len(values)
    return [
        {"from": i / count, "to": (i + 1) / count, "pixels": n, "confidence": c, "right": r}
        for i, (n, c, r) in enumerate(values)
    ]


def circles(svg):
    found = [element for element in ElementTree.fromstring(svg).iter() if element.tag == "circle"]
    return [(float(each.get("cx")), float(each.get("cy")), each.get("class")) for each in found]


def test_a_calibrated_bin_lies_on_the_diagonal():
    svg = reliability_diagram({"model": bins((99999, 0.25, 0.25), (1, 0.75, 0.75))}, "said", "right")
    (x1, y1, kind1), (x2, y2, kind2) = circles(svg)
    ideal = re.search(r'<polyline class="ideal" points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"', svg)
    left, bottom, right, top = map(float, ideal.groups())
    for x, y in ((x1, y1), (x2, y2)):
        assert (x - left) / (right - left) == pytest.approx((bottom - y) / (bottom - top), abs=0.005)
    assert (kind1, kind2) == ("dot", "hollow")  # one pixel of 100,000 says little
    assert svg.count("<rect") == 1


def test_empty_bins_have_no_dot():
    svg = reliability_diagram({"a": bins((0, None, None), (4, 0.8, 0.5)), "b": bins((0, None, None))}, "", "")
    assert len(circles(svg)) == 1


def test_risk_rises_from_left_to_right_on_its_axes():
    svg = risk_coverage({"a": [[0.0, 0.0], [0.5, 0.1], [1.0, 0.2]], "b": [[0.0, 0.0], [1.0, 0.2]]})
    first, second = (
        [tuple(map(float, pair.split(","))) for pair in points.split()]
        for points in re.findall(r'<polyline class="line" points="([^"]+)"', svg)
    )
    assert first[0] == second[0]  # nothing taken, nothing wrong: the corner
    assert first[2] == second[1]
    assert first[1] == pytest.approx(((first[0][0] + first[2][0]) / 2, (first[0][1] + first[2][1]) / 2), abs=0.1)
    assert first[2][0] > first[0][0]
    assert first[2][1] < first[0][1]  # up the page
    assert "coverage: share of pixels taken" in svg
    assert "share of them that is wrong" in svg


def test_differences_are_drawn_around_zero():
    svg = interval_chart([("better", 0.02, [0.01, 0.03]), ("undefined", None, None)], zero=True, what="B - A")
    ((x, _, _),) = circles(svg)
    zero = float(re.search(r'<line class="ideal" x1="([\d.]+)"', svg).group(1))
    assert x > zero
    assert "+0.0200" in svg
    assert "–" in svg


@pytest.mark.parametrize("draw", [
    lambda: score_histogram([0.5, 0.5], "Dice"),
    lambda: score_histogram([0.1, 0.9, 0.95], "Dice"),
    lambda: threshold_curves({"val": [[0.1, 0.5]], "test": []}, {"so far": 0.5, "chosen": 0.1}),
    lambda: pair_chart([("a<b", 0.5, 0.5)], "A", "B"),
    lambda: interval_chart([("a", 1.0, None)], zero=False, what="Dice"),
    lambda: interval_chart([("a", 0.0, [0.0, 0.0])], zero=True, what="Dice"),
])  # fmt: skip
def test_few_or_equal_numbers_still_make_a_figure(draw):
    ElementTree.fromstring(draw())


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.62, 0.89, [0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]), (0.5, 0.5, None)],
)
def test_ticks_are_round_and_hold_the_range(low, high, expected):
    ticks = _ticks(low, high)
    assert ticks[0] <= low <= high <= ticks[-1]
    assert len(ticks) >= 2
    if expected:
        assert ticks == expected
