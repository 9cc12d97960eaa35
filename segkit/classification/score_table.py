"""A classifier's scores as a table of plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

from segkit.columns import in_columns
from segkit.evaluation.scores import written

SCORES = {
    "top1": "top-1",
    "top5": "top-5",
    "nll": "NLL, nats",
    "brier": "Brier (0..2)",
    "ece": "ECE, 15 bins",
    "mean_class_accuracy": "mean class accuracy",
}
FEW = 20  # classes that are all listed; of more those that are recognised least
PAIRS = 5


def classification_table(metrics: Mapping[str, Any]) -> str:
    """Title, scores with 95 % intervals, classes, and which are taken for which; text without a final newline."""
    title = (
        f"{metrics['model']} on {metrics['split']} of {metrics['data']}: {metrics['images']:,} images, "
        f"{len(metrics['classes'])} classes, {metrics['settings']['precision']}"
    )
    intervals = metrics["intervals"]
    shown = [key for key in SCORES if key != "top5" or len(metrics["classes"]) > 5]
    rows = [["", "score", "95 % interval"]]
    rows += [[SCORES[key], written(metrics[key]), _range(intervals[key])] for key in shown]
    lines = [title, "", *in_columns(rows), "", *_classes(metrics)]
    if metrics["confused"]:
        most = metrics["confused"][:PAIRS]
        pairs = "; ".join(f"{p['true']} for {p['predicted']} ({p['images']} of {p['of']})" for p in most)
        lines += ["", f"most often taken for another: {pairs}"]
    if metrics["notes"]:
        lines += ["", *(f"note: {note}" for note in metrics["notes"])]
    return "\n".join(lines)


def _classes(metrics: Mapping[str, Any]) -> list[str]:
    found = list(metrics["per_class"].items())
    below = []
    if len(found) > FEW:
        defined = [each for each in found if each[1]["accuracy"] is not None]
        below = [f"the {FEW} of {len(found)} classes that are recognised least; metrics.json has all"]
        found = sorted(defined, key=lambda each: each[1]["accuracy"])[:FEW]
    rows = [["class", "images", "accuracy", "95 % interval"]]
    for name, each in found:
        interval = metrics["intervals"]["per_class"][name]
        rows.append([name, f"{each['images']:,}", written(each["accuracy"]), _range(interval)])
    return [*in_columns(rows), *below]


def _range(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:.3f}–{interval[1]:.3f}"
