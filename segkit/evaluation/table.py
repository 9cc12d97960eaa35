"""Scores as a table of plain text, in which every figure says what it is of."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from segkit.columns import in_columns
from segkit.evaluation.case_tables import case_tables
from segkit.evaluation.score_rows import (
    ScoreRow,
    calibration_rows,
    score_rows,
    selective_rows,
    settings_line,
    title_line,
)
from segkit.evaluation.scores import CLASS_SCORES, PER_IMAGE, written

Metrics = Mapping[str, Any]

Column = tuple[str, str]  # what it is averaged over, and the score

POOLED: dict[str, Column] = {key: ("pooled over all pixels", score.shown) for key, score in CLASS_SCORES.items()}
MEAN_OVER_IMAGES: dict[str, Column] = {key: ("mean over images", CLASS_SCORES[key].shown) for key in PER_IMAGE}
MEANS: dict[str, Column] = {
    "mean_dice": ("mean over classes", "Dice"),
    "mean_iou": ("mean over classes", "IoU"),
    "mean_dice_without_background": ("without background", "Dice"),
    "mean_iou_without_background": ("without background", "IoU"),
    "pixel_accuracy": ("all pixels", "accuracy"),
}


WITH_BACKGROUND = {"mean_dice": "Dice", "mean_iou": "IoU"}


def score_table(metrics: Metrics, members: Mapping[str, Metrics]) -> str:
    """Title, one row a class (binary: one row a model), and the members below, as text without a final newline."""
    lines = [line for line in (title_line(metrics), settings_line(metrics)) if line]
    columns = [*POOLED.values(), *MEAN_OVER_IMAGES.values()]
    if metrics["task"] == "binary":
        foreground = metrics["classes"][1]
        first = "ensemble" if members else foreground
        rows = [_class_row(name, each, foreground) for name, each in {first: metrics, **members}.items()]
        lines += ["", *_table(foreground, columns, rows)]
        both = ", ".join(f"{name} {written(metrics['pooled'][key])}" for key, name in WITH_BACKGROUND.items())
        lines += ["", f"mean of {' and '.join(metrics['classes'])}: {both}"]
    else:
        rows = [_class_row(name, metrics, name) for name in metrics["classes"]]
        lines += ["", *_table("class", columns, rows)]
        models = {"ensemble" if members else "model": metrics, **members}
        means = [[name, *(written(each["pooled"][key]) for key in MEANS)] for name, each in models.items()]
        lines += ["", *_table("", list(MEANS.values()), means)]
    lines += _cases(metrics, members)
    lines += ["", *_intervals(metrics)]
    if metrics["calibration"] is not None:
        figures = ", ".join(f"{row.name} {written(row.of(metrics)[0])}" for row in calibration_rows(metrics))
        lines += ["", f"calibration: {figures}"]
    if metrics["selective"] is not None:
        figures = ", ".join(f"{row.name} {written(row.of(metrics)[0])}" for row in selective_rows(metrics))
        lines += [f"uncertainty: {figures}"]
    lines += _chosen(metrics)
    lines += ["", *(f"note: {note}" for note in metrics["notes"])] if metrics["notes"] else []
    if any("–" in line for line in lines):
        lines += ["", "–: undefined, there is nothing to divide by"]
    return "\n".join(lines)


def _cases(metrics: Metrics, members: Mapping[str, Metrics]) -> list[str]:
    """Surface distances and lesions, where they were asked for; a title once, above its first table."""
    lines = []
    for table in case_tables(metrics, members):
        lines += ["", table.title] if table.definitions else [""]
        lines += _table(table.first, table.columns, table.rows)
    return lines


def _intervals(metrics: Metrics) -> list[str]:
    """The interval of every score of the whole model, and what it is over."""
    intervals = metrics["intervals"]
    if intervals["units"] < 2:
        return [f"no intervals: only one {intervals['unit']}"]
    method = f"{intervals['method']}, {intervals['resamples']:,} resamples of {intervals['units']}"
    rows = [row for row in score_rows(metrics) if row.path[-1] in ("dice", "iou") or row.path[-1].startswith("mean_")]
    width = max(len(row.name) for row in rows)
    lines = [_with_interval(row, metrics, width) for row in rows]
    return [f"{intervals['level']:.0%} intervals, {method}", *lines]


def _chosen(metrics: Metrics) -> list[str]:
    """The threshold chosen on another split, and what it gives on this one."""
    chosen = metrics["chosen_threshold"]
    if chosen is None:
        return []
    count, split = chosen["images"], chosen["split"]
    lines = ["", f"threshold chosen on {split} ({count} image{'s' if count != 1 else ''}) by the highest pooled Dice"]
    for name, each in chosen["per_class"].items():
        there, before = written(each["dice_there"]), written(each["dice_there_before"])
        lines.append(f"{name}: {each['threshold']:.4f}; Dice on {split} {there}, at {chosen['before']:g} {before}")
    rows = score_rows(metrics)
    width = max(len(row.name) for row in rows)
    lines.append(f"{'':{width}}  at {chosen['before']:<6g}  at the chosen")
    for row in rows:
        lines.append(f"{row.name:{width}}  {written(row.of(metrics)[0]):>9}  {written(row.of(chosen)[0]):>13}")
    return lines


def _with_interval(row: ScoreRow, metrics: Metrics, width: int) -> str:
    value, interval = row.of(metrics)
    within = f"  {written(interval[0])} to {written(interval[1])}" if interval else ""
    return f"{row.name:{width}}  {written(value)}{within}"


def _class_row(label: str, metrics: Metrics, name: str) -> list[str]:
    pooled = metrics["pooled"]["per_class"][name]
    per_image = metrics["mean_over_images"]["per_class"][name]
    return [label, *(written(pooled[score]) for score in POOLED), *(written(per_image[score]) for score in PER_IMAGE)]


def _table(what: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Two lines of headings, what is averaged over above the scores, and the rows; figures to the right."""
    heading = [what, *(score for _, score in columns)]
    widths = [max(9 * (i > 0), *(len(row[i]) for row in [heading, *rows])) for i in range(len(heading))]
    groups = " " * widths[0]
    for _, group in groupby(zip(columns, widths[1:], strict=True), key=lambda column: column[0][0]):
        members = list(group)
        groups += members[0][0][0].rjust(sum(2 + width for _, width in members))
    lines = [groups]
    for name, *scores in [heading, *rows]:
        cells = [score.rjust(width) for score, width in zip(scores, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return lines


def comparison_table(models: Mapping[str, Metrics], pairs: Mapping[str, Metrics]) -> str:
    """Each model but the first against the first, as text without a final newline."""
    first, metrics = next(iter(models.items()))
    lines = [title_line({**metrics, "model": "comparison"})]
    for name, pair in pairs.items():
        rows = [[f"{row['of']}, {row['averaged']}", *_compared(row)] for row in pair["scores"]]
        heads = ["", "A", "B", "B - A", f"{pair['level']:.0%} interval", "p"]
        lines += ["", f"A: {first}", f"B: {name}", "", *in_columns([heads, *rows])]
        lines += ["", *comparison_remarks(pair)]
    notes = [f"note: {note}" for note in notes_of_several(models)]
    lines += ["", *notes] if notes else []
    return "\n".join(lines)


def notes_of_several(models: Mapping[str, Metrics]) -> list[str]:
    """What is to be said of models on the same images, each note once, with the models that it is of if not of all."""
    notes: dict[str, list[str]] = {}
    for name, each in models.items():
        for note in each["notes"]:
            notes.setdefault(note, []).append(name)
    return [note if len(of) == len(models) else f"{', '.join(of)}: {note}" for note, of in notes.items()]


def comparison_remarks(pair: Metrics) -> list[str]:
    """On how many images each is better, and how the intervals and p were made."""
    better, count = pair["better"], pair["units"]
    remarks = [
        f"By {pair['score_of_an_image']}, A is better on {better['first']} images, B on {better['second']}, "
        f"and they are equal on {better['equal']}."
    ]
    if count < 2:
        return [*remarks, f"No intervals and no p: only one {pair['unit']}."]
    exact = 2**count == pair["exchanges"]
    ways = f"all {pair['exchanges']:,}" if exact else f"{pair['exchanges']:,} random"
    remarks += [
        f"Intervals: percentile bootstrap over {count} {pair['unit']}s, the same drawn for both, "
        f"{pair['resamples']:,} resamples.",
        f"p: share of {ways} ways to exchange the two models' results {pair['unit']} by {pair['unit']} that differ as "
        "much. One p is for one question: of many rows some are small by chance.",
    ]
    return remarks


def _compared(row: Metrics) -> list[str]:
    difference, interval, chance = row["difference"], row["interval"], row["p"]
    return [
        written(row["first"]),
        written(row["second"]),
        "–" if difference is None else f"{difference:+.4f}",
        "–" if interval is None else f"{interval[0]:+.4f} to {interval[1]:+.4f}",
        "–" if chance is None else f"{chance:.4f}",
    ]
