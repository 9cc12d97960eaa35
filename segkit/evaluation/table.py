"""Scores as a table of plain text, in which every figure says what it is of."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

Metrics = Mapping[str, Any]

Column = tuple[str, str]  # what it is averaged over, and the score

POOLED: dict[str, Column] = {
    "dice": ("pooled over all pixels", "Dice"),
    "iou": ("pooled over all pixels", "IoU"),
    "precision": ("pooled over all pixels", "precision"),
    "recall": ("pooled over all pixels", "recall"),
}
PER_IMAGE: dict[str, Column] = {"dice": ("mean over images", "Dice"), "iou": ("mean over images", "IoU")}
MEANS: dict[str, Column] = {
    "mean_dice": ("mean over classes", "Dice"),
    "mean_iou": ("mean over classes", "IoU"),
    "mean_dice_without_background": ("without background", "Dice"),
    "mean_iou_without_background": ("without background", "IoU"),
    "pixel_accuracy": ("all pixels", "accuracy"),
}


def score_table(metrics: Metrics, members: Mapping[str, Metrics]) -> str:
    """Title, one row a class (binary: one row a model), and the members below, as text without a final newline."""
    lines = _title(metrics)
    columns = [*POOLED.values(), *PER_IMAGE.values()]
    if metrics["task"] == "binary":
        foreground = metrics["classes"][1]
        first = "ensemble" if members else foreground
        rows = [_class_row(name, each, foreground) for name, each in {first: metrics, **members}.items()]
        lines += ["", *_table(foreground, columns, rows)]
    else:
        rows = [_class_row(name, metrics, name) for name in metrics["classes"]]
        lines += ["", *_table("class", columns, rows)]
        models = {"ensemble" if members else "model": metrics, **members}
        means = [[name, *(_written(each["pooled"][key]) for key in MEANS)] for name, each in models.items()]
        lines += ["", *_table("", list(MEANS.values()), means)]
    if any("–" in line for line in lines):
        lines += ["", "–: undefined, there is nothing to divide by"]
    return "\n".join(lines)


def _title(metrics: Metrics) -> list[str]:
    count = len(metrics["images"])
    pixels = sum(image["pixels"] for image in metrics["images"])
    settings = metrics["settings"]
    how = []
    if settings:
        tile = f"tiles of {settings['tile']} overlapping by {settings['overlap']:.0%}"
        how = [tile if settings["tile"] else "each image in one piece"]
        how += [f"averaged over {settings['tta']}s"] if settings["tta"] else []
        if metrics["task"] != "multiclass":
            how.append(f"threshold {metrics['threshold']:g}")
        how.append(settings["precision"])
    return [
        f"{metrics['model']} on {metrics['data']}, split {metrics['split']}: "
        f"{count} image{'s' if count != 1 else ''}, {metrics['region']}, {pixels:,} pixels counted",
        *([", ".join(how)] if how else []),
    ]


def _class_row(label: str, metrics: Metrics, name: str) -> list[str]:
    pooled = metrics["pooled"]["per_class"][name]
    per_image = metrics["mean_over_images"]["per_class"][name]
    return [label, *(_written(pooled[score]) for score in POOLED), *(_written(per_image[score]) for score in PER_IMAGE)]


def _written(score: float | None) -> str:
    return "–" if score is None else f"{score:.4f}"


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
