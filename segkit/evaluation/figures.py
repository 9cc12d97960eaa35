"""The report's figures as SVG text, in the colours of the page that they are put into."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Point = tuple[float, float]

LEFT, RIGHT, TOP = 66, 22, 10  # margins of every plot, in units of the drawing: room for letters enlarged on phones
UP = 12  # where the name of the axis that goes up stands
SHADES = 6  # lines with colours of their own, .s0 to .s5 on the page
LONGEST_BESIDE = 16  # letters of a name beside its line
FEWEST_SHOWN = 1e-4  # of the pixels; below it a bar of the histogram is empty


def reliability_diagram(curves: Mapping[str, Sequence[Mapping[str, Any]]], across: str, up: str) -> str:
    """Share that is right against probability, one line a model, over a histogram of the first one's pixels.

    Bins with less than a ten-thousandth of the pixels have hollow dots.

    Args:
        curves: ``bins`` of ``Calibration.compute`` by the model's name.
        across, up: what the axes are.
    """
    width, side, low = 420, 300, 84
    x, y = _Scale(0, 1, LEFT, width - RIGHT), _Scale(0, 1, TOP + side, TOP)
    parts = [_grid(x, y, ticks=_ticks(0, 1)), _line([(x(0), y(0)), (x(1), y(1))], "ideal")]
    for i, (name, bins) in enumerate(curves.items()):
        total = sum(each["pixels"] for each in bins) or 1
        filled = [each for each in bins if each["pixels"]]
        points = [(x(each["confidence"]), y(each["right"])) for each in filled]
        dots = "".join(
            f'<circle class="{"dot" if each["pixels"] >= FEWEST_SHOWN * total else "hollow"}" cx="{px:.1f}" '
            f'cy="{py:.1f}" r="3.5"><title>{html.escape(name)}: {each["confidence"]:.3f} said, '
            f"{each['right']:.3f} right, {each['pixels']:,} pixels</title></circle>"
            for each, (px, py) in zip(filled, points, strict=True)
        )
        parts.append(f'<g class="s{i % SHADES}">{_line(points, "line")}{dots}</g>')
    parts.append(_words((UP, TOP + side / 2), up, turned=True))

    bins = next(iter(curves.values()))
    total = sum(each["pixels"] for each in bins) or 1
    base = TOP + side + 30 + low
    height = _Scale(math.log10(FEWEST_SHOWN), 0, base, base - low)
    for share, label in ((1e-4, "0.01 %"), (1e-2, "1 %"), (1, "100 %")):
        level = height(math.log10(share))
        parts.append(_segment(LEFT, level, width - RIGHT, level, "grid") + _words((LEFT - 5, level + 4), label, "end"))
    for each in bins:
        if each["pixels"] >= FEWEST_SHOWN * total:
            top = height(math.log10(each["pixels"] / total))
            left, right = x(each["from"]) + 1, x(each["to"]) - 1
            parts.append(
                f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{base - top:.1f}"/>'
            )
    parts.append(_words(((LEFT + width - RIGHT) / 2, base + 20), across))
    return _svg(width, base + 30, "Reliability diagram", parts)


def threshold_curves(curves: Mapping[str, Sequence[Sequence[float]]], marks: Mapping[str, float]) -> str:
    """Dice against threshold, one line a split, with dashed lines at the thresholds marked.

    Args:
        curves: pairs of threshold and Dice by the split's name.
        marks: thresholds by what they are.
    """
    width, side = 420, 240
    dice = [point[1] for curve in curves.values() for point in curve]
    up = _ticks(min(dice, default=0), max(dice, default=1))
    x, y = _Scale(0, 1, LEFT, width - RIGHT), _Scale(up[0], up[-1], TOP + 36 + side, TOP + 36)
    parts = [_grid(x, y, ticks=_ticks(0, 1), up=up)]
    for i, curve in enumerate(curves.values()):
        parts.append(f'<g class="s{i}">{_line([(x(t), y(d)) for t, d in curve], "line")}</g>')
    for i, (name, threshold) in enumerate(marks.items()):
        place = x(threshold)
        anchor = "end" if place > width / 2 else "start"
        parts.append(f'<g class="s{2 + i}">{_segment(place, TOP + 16 * i, place, y(up[0]), "mark")}</g>')
        parts.append(
            _words((place + (-6 if anchor == "end" else 6), TOP + 11 + 16 * i), f"{name} {threshold:.4g}", anchor)
        )
    parts.append(_words(((LEFT + width - RIGHT) / 2, TOP + side + 70), "threshold"))
    parts.append(_words((UP, TOP + 36 + side / 2), "Dice, pooled", turned=True))
    return _svg(width, TOP + side + 80, "Dice by threshold", parts)


def risk_coverage(curves: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Share of errors among the most certain pixels, against how many of them are taken, one line a model.

    Args:
        curves: pairs of coverage and risk by the model's name.
    """
    width, side = 420, 240
    up = _ticks(0, max(risk for curve in curves.values() for _, risk in curve))
    x, y = _Scale(0, 1, LEFT, width - RIGHT), _Scale(up[0], up[-1], TOP + side, TOP)
    parts = [_grid(x, y, ticks=_ticks(0, 1), up=up)]
    for i, curve in enumerate(curves.values()):
        parts.append(f'<g class="s{i % SHADES}">{_line([(x(c), y(risk)) for c, risk in curve], "line")}</g>')
    parts.append(_words(((LEFT + width - RIGHT) / 2, TOP + side + 36), "coverage: share of pixels taken"))
    parts.append(_words((UP, TOP + side / 2), "share of them that is wrong", turned=True))
    return _svg(width, TOP + side + 46, "Risk by coverage", parts)


def score_histogram(scores: Sequence[float], of: str) -> str:
    """How many images have which score, in bars over the range that occurs, with a dashed line at the mean."""
    width, side = 420, 170
    ticks = _ticks(min(scores), max(scores))
    low, high = ticks[0], ticks[-1]
    counts, edges = np.histogram(scores, bins=30, range=(low, high))
    most, step = int(counts.max()), max(1, round(_round_up(int(counts.max()) / 4)))
    top = -(-most // step) * step
    x, y = _Scale(low, high, LEFT, width - RIGHT), _Scale(0, top, TOP + side, TOP)
    parts = [_grid(x, y, ticks=ticks, up=range(0, top + 1, step))]
    for count, start, end in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        if count:
            parts.append(
                f'<rect class="bar" x="{x(start) + 1:.1f}" y="{y(count):.1f}" width="{x(end) - x(start) - 2:.1f}" '
                f'height="{y(0) - y(count):.1f}"><title>{count} from {start:.3f} to {end:.3f}</title></rect>'
            )
    mean = x(float(np.mean(scores)))
    parts.append(_segment(mean, TOP, mean, y(0), "mean"))
    parts.append(_words(((LEFT + width - RIGHT) / 2, TOP + side + 36), of))
    parts.append(_words((UP, TOP + side / 2), "images", turned=True))
    return _svg(width, TOP + side + 46, f"Images by {of}", parts)


def interval_chart(rows: Sequence[tuple[str, float | None, Sequence[float] | None]], *, zero: bool, what: str) -> str:
    """A dot and its interval a row, the name on the left, the figure on the right.

    Args:
        rows: name, value and interval; what is undefined has none.
        zero: values are differences: the range holds 0, with a line there, and the figures have signs.
        what: the values are.
    """
    stacked = any(len(label) > LONGEST_BESIDE for label, *_ in rows)  # names above the lines, or beside them
    width, name, figures, row = 420, 26 if stacked else 112, 64, 44 if stacked else 27
    ends = [end for _, value, interval in rows for end in (*(interval or ()), *([] if value is None else [value]))]
    ends += [0.0] * zero
    ticks = _ticks(min(ends, default=0), max(ends, default=1))
    base = TOP + row * len(rows)
    x, y = _Scale(ticks[0], ticks[-1], name, width - figures), _Scale(0, 1, base, TOP)
    parts = [_grid(x, y, ticks=ticks, up=())]
    if zero:
        parts.append(_segment(x(0), TOP, x(0), base, "ideal"))
    for i, (label, value, interval) in enumerate(rows):
        middle = TOP + row * (i + 0.5) + (8 if stacked else 0)
        place, anchor = ((name - 18, middle - 12), "start") if stacked else ((name - 10, middle + 4), "end")
        parts.append(_words(place, label, anchor, kind="name"))
        if value is None:
            parts.append(_words((width, middle + 4), "–", "end"))
            continue
        whisker = _segment(x(interval[0]), middle, x(interval[1]), middle, "whisker") if interval else ""
        parts.append(f'<g class="s0">{whisker}<circle class="dot" cx="{x(value):.1f}" cy="{middle:.1f}" r="4"/></g>')
        parts.append(_words((width, middle + 4), f"{value:+.4f}" if zero else f"{value:.4f}", "end", kind="name"))
    parts.append(_words(((name + width - figures) / 2, base + 38), what))
    return _svg(width, base + 48, what, parts)


def pair_chart(pairs: Sequence[tuple[str, float, float]], across: str, up: str) -> str:
    """A dot an image, its score by one model across and by the other up; above the dashed line the other is better."""
    width, side = 420, 330
    scores = [score for _, *both in pairs for score in both]
    ticks = _ticks(min(scores, default=0), max(scores, default=1))
    low, high = ticks[0], ticks[-1]
    x, y = _Scale(low, high, LEFT, width - RIGHT), _Scale(low, high, TOP + side, TOP)
    dots = "".join(
        f'<circle class="hollow" cx="{x(a):.1f}" cy="{y(b):.1f}" r="4"><title>{html.escape(name)}: {a:.4f}, {b:.4f}'
        "</title></circle>"
        for name, a, b in pairs
    )
    parts = [
        _grid(x, y, ticks=ticks, up=ticks),
        _line([(x(low), y(low)), (x(high), y(high))], "ideal"),
        f'<g class="s0">{dots}</g>',
        _words(((LEFT + width - RIGHT) / 2, TOP + side + 38), across),
        _words((UP, TOP + side / 2), up, turned=True),
    ]
    return _svg(width, TOP + side + 48, f"{up} against {across}", parts)


class _Scale:
    """A linear map from values to places."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.start, self.step = low, start, (end - start) / (high - low)
        self.ends = (start, end)

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) * self.step


def _grid(x: _Scale, y: _Scale, *, ticks: Sequence[float], up: Sequence[float] | None = None) -> str:
    """Lines and figures at the ticks: across below the plot, up on its left."""
    (left, right), (bottom, top) = x.ends, y.ends
    lines = [
        _segment(x(tick), bottom, x(tick), top, "grid") + _words((x(tick), bottom + 16), f"{tick:g}") for tick in ticks
    ]
    lines += [
        _segment(left, y(tick), right, y(tick), "grid") + _words((left - 5, y(tick) + 4), f"{tick:g}", "end")
        for tick in (ticks if up is None else up)
    ]
    return "".join(lines)


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    name = html.escape(title)
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{name}">{"".join(parts)}</svg>'


def _segment(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _line(points: Sequence[Point], kind: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{path}"/>'


def _words(place: Point, words: str, anchor: str = "middle", *, turned: bool = False, kind: str = "") -> str:
    x, y = place
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{html.escape(words)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round values, the first not above ``low``, the last not below ``high``."""
    step = _round_up(max(high - low, 1e-3) / 7)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * i, 9) for i in range(first, max(last, first + 1) + 1)]


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if value <= 0:
        return 0.1
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))
