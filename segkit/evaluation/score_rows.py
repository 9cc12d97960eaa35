"""Which scores a report shows, in which order, each with its definition: the text table and the pages share it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segkit.evaluation.scores import CLASS_SCORES, PER_IMAGE

Metrics = Mapping[str, Any]
Path = tuple[str, ...]

MEANS = {"mean_iou": "mean IoU", "mean_dice": "mean Dice"}


@dataclass(frozen=True)
class ScoreRow:
    """One score: its name, its definition, and where it is among the metrics."""

    name: str
    definition: str
    path: Path

    def of(self, metrics: Metrics) -> tuple[float | None, Sequence[float] | None]:
        """Its value and its interval; None where undefined or absent."""
        return _at(metrics, self.path), _at(metrics["intervals"], self.path)


def score_rows(metrics: Metrics) -> list[ScoreRow]:
    """The scores of a whole model, the headline first: the binary task's foreground, otherwise means over classes."""
    defined = metrics["definitions"]
    if metrics["task"] == "binary":
        means = [
            ScoreRow(f"{name} with background, pooled", defined[key], ("pooled", key)) for key, name in MEANS.items()
        ]
        return [*class_rows(metrics, metrics["classes"][1]), *means]
    rows = []
    for suffix, what in (("_without_background", " without background"), ("", "")):
        if suffix and metrics["background"] is None:
            continue
        named = what or (" with background" if metrics["background"] is not None else "")
        for key in MEANS:
            name = f"{MEANS[key]}{named}, pooled"
            definition = defined[key + suffix] if metrics["background"] is not None else defined[key].split(",")[0]
            rows.append(ScoreRow(name, definition, ("pooled", key + suffix)))
    return [*rows, ScoreRow("pixel accuracy", defined["pixel_accuracy"], ("pooled", "pixel_accuracy"))]


def class_rows(metrics: Metrics, name: str) -> list[ScoreRow]:
    """The scores of one class: pooled, and the means over images."""
    defined = metrics["definitions"]
    pooled = [
        ScoreRow(f"{score.shown}, pooled", f"{defined[key]}; {defined['pooled']}", ("pooled", "per_class", name, key))
        for key, score in CLASS_SCORES.items()
    ]
    means = [
        ScoreRow(
            f"{CLASS_SCORES[key].shown}, mean over images",
            "each image scored by itself; the mean over those where the class occurs in truth or prediction",
            ("mean_over_images", "per_class", name, key),
        )
        for key in PER_IMAGE
    ]
    return [*pooled, *means]


def calibration_rows(metrics: Metrics) -> list[ScoreRow]:
    """The figures of calibration."""
    defined = metrics["calibration"]["definitions"]
    names = {"ece": "ECE", "adaptive_ece": "adaptive ECE", "brier": "Brier score", "nll": "NLL"}
    return [ScoreRow(name, defined[key], ("calibration", key)) for key, name in names.items()]


def selective_rows(metrics: Metrics) -> list[ScoreRow]:
    """The figures of how well uncertainty tells where the errors are."""
    defined = metrics["selective"]["definitions"]
    names = {"errors_in_most_uncertain": "errors in the most uncertain 10 %", "aurc": "AURC"}
    return [ScoreRow(name, defined[key], ("selective", key)) for key, name in names.items()]


def title_line(metrics: Metrics) -> str:
    """What was scored on what, and how much of it was counted."""
    count = len(metrics["images"])
    pixels = sum(image["pixels"] for image in metrics["images"])
    return (
        f"{metrics['model']} on {metrics['data']}, split {metrics['split']}: "
        f"{count} image{'s' if count != 1 else ''}, {metrics['region']}, {pixels:,} pixels counted"
    )


def settings_line(metrics: Metrics) -> str:
    """How the model was applied; empty for masks."""
    settings = metrics["settings"]
    if not settings:
        return ""
    tile = f"tiles of {settings['tile']} overlapping by {settings['overlap']:.0%}"
    how = [tile if settings["tile"] else "each image in one piece"]
    how += [f"views averaged: {settings['tta']}"] if settings["tta"] else []
    if metrics["task"] != "multiclass":
        how.append(f"threshold {metrics['threshold']:g}")
    after = f"; then {settings['postprocess']}" if "postprocess" in settings else ""
    return ", ".join([*how, settings["precision"]]) + after


def _at(values: Any, path: Path) -> Any:
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return None
        values = values[key]
    return values
