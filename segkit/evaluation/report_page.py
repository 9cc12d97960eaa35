"""The report of one evaluation as a page: scores with their definitions, calibration, threshold, the worst images."""

from collections.abc import Mapping, Sequence
from html import escape
from statistics import mean, median
from typing import Any

import segkit
from segkit.drawing.palette import default_palette
from segkit.evaluation.case_tables import case_parts
from segkit.evaluation.figures import (
    interval_chart,
    reliability_diagram,
    risk_coverage,
    score_histogram,
    threshold_curves,
)
from segkit.evaluation.metrics import headline
from segkit.evaluation.score_rows import (
    ScoreRow,
    calibration_rows,
    class_rows,
    score_rows,
    selective_rows,
    settings_line,
    title_line,
)
from segkit.evaluation.scores import written
from segkit.evaluation.worst import Example
from segkit.page import ERROR_LEGEND, UNCERTAINTY_LEGEND, document, figure

Metrics = Mapping[str, Any]

DRAWN = 6  # lines in a plot, as many as there are colours
RIGHT_OR_WRONG = """<li><i style="background:#e8e8e8"></i>right</li>
<li><i style="background:#d55e00"></i>another class</li>"""


def report_page(metrics: Metrics, members: Mapping[str, Metrics], worst: Sequence[Example]) -> str:
    """The page as text; every value is escaped, figures are SVG, pictures are in it."""
    models = {"ensemble" if members else "model" if metrics["settings"] else "masks": metrics, **members}
    body = [
        f"<h1>{escape(_called(metrics))} on {escape(metrics['data'])}</h1>",
        f"<p class=lead>{escape(_lead(metrics))}</p>",
        f"<p class=soft>{escape('; '.join(filter(None, (title_line(metrics), settings_line(metrics)))))}.</p>",
        notes_card(metrics["notes"]),
        "<h2>Scores</h2>",
        score_table(models, score_rows(metrics)),
        f"<p class=soft>{escape(interval_remark(metrics['intervals']))}</p>",
        *_classes(metrics),
        *case_parts(metrics, members),
        *_calibration(models),
        *_selective(models),
        *_threshold(metrics),
        *_confusion(metrics),
        *_every_image(metrics),
        *_worst(metrics, worst),
        f"<footer>segkit {segkit.__version__}. The figures are in metrics.json, every image's in per_image.csv; "
        "docs/metrics.md says how each is counted, and where other programs count otherwise.</footer>",
    ]
    return document(f"{_called(metrics)} on {metrics['data']}", "\n".join(part for part in body if part))


def score_table(models: Mapping[str, Metrics], rows: Sequence[ScoreRow]) -> str:
    """One row a score with its definition, one column a model; below a figure its interval."""
    heads = "".join(f"<th scope=col>{escape(name).replace('_', '_<wbr>')}</th>" for name in models)
    lines = [
        f"<tr><th scope=row>{escape(row.name)}<small>{escape(row.definition)}</small></th>"
        + "".join(_cell(*row.of(metrics)) for metrics in models.values())
        + "</tr>"
        for row in rows
    ]
    return (
        f'<div class=card><table class=scores style="--columns:{len(models)}">'
        f"<thead><tr><th scope=col>Score</th>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def notes_card(notes: Sequence[str]) -> str:
    """What has to be known before a figure is believed; empty where there is nothing."""
    lines = "".join(f"<p>{escape(note[0].upper() + note[1:])}.</p>" for note in notes)
    return f'<div class="card notes">{lines}</div>' if notes else ""


def interval_remark(intervals: Metrics) -> str:
    """How the intervals were made, or why there are none."""
    unit, count = intervals["unit"], intervals["units"]
    if count < 2:
        return f"No intervals: there is only one {unit}, and nothing to tell how far others would differ."
    grouped = (
        "; groups, such as patients, are drawn whole, because their images resemble one another"
        if unit == "group"
        else ""
    )
    return (
        f"Below each figure its {intervals['level']:.0%} interval: {count} {unit}s were drawn with replacement "
        f"{intervals['resamples']:,} times, and the score computed anew (percentile bootstrap{grouped}). It says how "
        "far the score depends on which images were tested, not on how training went."
    )


def _called(metrics: Metrics) -> str:
    """The model's name; of a folder of masks the last part of its path, the whole of it is below the heading."""
    name = str(metrics["model"])
    return name if metrics["settings"] else name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def _lead(metrics: Metrics) -> str:
    name, value = headline(dict(metrics))
    if value != value:
        return f"{name}: undefined, there is nothing to score."
    interval = score_rows(metrics)[0].of(metrics)[1]
    within = f" ({interval[0]:.4f} to {interval[1]:.4f} with 95 % confidence)" if interval else ""
    return f"{name}: {value:.4f}{within}."


def _classes(metrics: Metrics) -> list[str]:
    """A row a class, and its Dice as a chart; the binary task's only class is in the table above."""
    if metrics["task"] == "binary":
        return []
    columns = class_rows(metrics, metrics["classes"][0])
    heads = "".join(f"<th scope=col>{escape(column.name)}</th>" for column in columns)
    lines = []
    for name in metrics["classes"]:
        cells = "".join(_cell(*row.of(metrics)) for row in class_rows(metrics, name))
        lines.append(f"<tr><th scope=row>{escape(name)}</th>{cells}</tr>")
    definitions = "".join(f"<dt>{escape(column.name)}</dt><dd>{escape(column.definition)}</dd>" for column in columns)
    dice = [(name, *class_rows(metrics, name)[0].of(metrics)) for name in metrics["classes"]]
    chart = interval_chart(dice, zero=False, what="Dice, pooled, with its interval")
    return [
        "<h2>Each class</h2>",
        f'<div class="card chart"><figure>{chart}</figure></div>',
        f"<div class=card><table class=wide><thead><tr><th scope=col>Class</th>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>",
        f"<dl>{definitions}</dl>",
    ]


def _calibration(models: Mapping[str, Metrics]) -> list[str]:
    name, metrics = next(iter(models.items()))
    if metrics["calibration"] is None:
        return ["<h2>Calibration</h2>", "<p>Masks have no probabilities, so there is nothing to calibrate.</p>"]
    if metrics["task"] == "multilabel":
        curves = {label: each["bins"] for label, each in metrics["calibration"]["per_class"].items()}
        what = f"One line a class, of the {name}."
    else:
        curves = {label: each["calibration"]["bins"] for label, each in models.items()}
        what = ""
    most = metrics["task"] == "multiclass"
    across = "probability of the class predicted" if most else "probability of the foreground"
    up = "share that is right" if most else "share that is foreground"
    drawn = dict(list(curves.items())[:DRAWN])
    diagram = reliability_diagram(drawn, across, up)
    first = next(iter(curves))
    what += _first_of(len(curves))
    caption = (
        f"{what} On the dashed line probabilities mean what they say; below it they are too high. Hollow dots stand "
        f"for less than 0.01 % of the pixels. Below: the share of pixels of each probability ({first}, logarithmic)."
    )
    legend = "".join(
        f'<li><i class="key s{i}"></i>{escape(label)}</li>' for i, label in enumerate(list(curves)[:DRAWN])
    )
    return [
        "<h2>Calibration</h2>",
        f"<div class='card chart'><figure>{diagram}</figure><figure><ul class=legend>{legend}</ul>"
        f"<figcaption>{escape(caption.strip())}</figcaption></figure></div>",
        score_table(models, calibration_rows(metrics)),
    ]


def _first_of(count: int) -> str:
    """That of many lines the first are drawn; nothing where all are."""
    return f" The first {DRAWN} of {count} are drawn." if count > DRAWN else ""


def _selective(models: Mapping[str, Metrics]) -> list[str]:
    metrics = next(iter(models.values()))
    if metrics["selective"] is None or not metrics["selective"]["curve"]:
        return []
    curves = {label: each["selective"]["curve"] for label, each in list(models.items())[:DRAWN]}
    legend = "".join(f'<li><i class="key s{i}"></i>{escape(label)}</li>' for i, label in enumerate(curves))
    caption = (
        "Pixels in the order of their entropy, the most certain first: the share of errors among as many of them as "
        "coverage says. A line that stays low and rises only at its right end knows where it is wrong."
    ) + _first_of(len(models))
    return [
        "<h2>Errors and uncertainty</h2>",
        f"<div class='card chart'><figure>{risk_coverage(curves)}</figure><figure><ul class=legend>{legend}</ul>"
        f"<figcaption>{escape(caption)}</figcaption></figure></div>",
        score_table(models, selective_rows(metrics)),
    ]


def _threshold(metrics: Metrics) -> list[str]:
    chosen = metrics["chosen_threshold"]
    if chosen is None:
        return []
    split, here, before = chosen["split"], metrics["split"], chosen["before"]
    parts = [
        "<h2>Threshold</h2>",
        f"<p>Chosen on {escape(split)} (images: {chosen['images']}), where its pooled Dice is highest of all multiples "
        f"of 1/1024, and judged on {escape(here)}, which had no say in it.</p>",
    ]
    for name, each in chosen["per_class"].items():
        curves = {
            f"{split}, where it is chosen": each["curve_there"],
            f"{here}, where it is judged": each["curve_here"],
        }
        svg = threshold_curves(curves, {"so far": before, "chosen": each["threshold"]})
        legend = "".join(f'<li><i class="key s{i}"></i>{escape(label)}</li>' for i, label in enumerate(curves))
        there = (
            f"{written(each['dice_there_before'])} at {before:g} and {written(each['dice_there'])} at the chosen one"
        )
        parts.append(
            f"<div class='card chart'><figure>{svg}</figure><figure><h3>{escape(name)}: {each['threshold']:.4f}</h3>"
            f"<ul class=legend>{legend}</ul><figcaption>On {escape(split)} the Dice is {there}.</figcaption>"
            "</figure></div>"
        )
    at_chosen = {**metrics, **{key: chosen[key] for key in ("pooled", "mean_over_images", "intervals")}}
    parts.append(
        score_table({f"{here}, at {before:g}": metrics, f"{here}, at the chosen": at_chosen}, score_rows(metrics))
    )
    return parts


def _confusion(metrics: Metrics) -> list[str]:
    if metrics["task"] != "multiclass":
        return []
    heads = "".join(f"<th scope=col>{escape(name)}</th>" for name in metrics["classes"])
    lines = []
    for name, row in zip(metrics["classes"], metrics["confusion"], strict=True):
        total = sum(row)
        cells = "".join(
            f'<td style="background:color-mix(in srgb, var(--accent) {80 * count / total:.0f}%, transparent)" '
            f'title="{count:,} pixels">{100 * count / total:.0f}</td>'
            if total
            else "<td>–</td>"
            for count in row
        )
        lines.append(f"<tr><th scope=row>{escape(name)}</th>{cells}</tr>")
    return [
        "<h2>What is taken for what</h2>",
        f'<div class=card><table class="wide confusion"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>",
        "<p class=soft>Rows are the truth, columns the prediction; percent of the row's pixels.</p>",
    ]


def _every_image(metrics: Metrics) -> list[str]:
    by, images = metrics["worst"]["by"], metrics["images"]
    found = [(score, image["name"]) for image in images if (score := image_score(metrics, image)) is not None]
    if len(found) < 2:
        return []
    found.sort()
    scores = [score for score, _ in found]
    (lowest, worst), (highest, best) = found[0], found[-1]
    missing = len(images) - len(found)
    lines = [
        f"Lowest {lowest:.4f}, {worst}. Highest {highest:.4f}, {best}.",
        f"Mean {mean(scores):.4f}, dashed; median {median(scores):.4f}.",
    ]
    if missing:
        lines.append(
            f"{missing} image{'s have' if missing > 1 else ' has'} no such score: nothing there, nothing found."
        )
    remarks = "<br>".join(escape(line) for line in lines)
    return [
        "<h2>Every image by itself</h2>",
        f"<div class='card chart'><figure>{score_histogram(scores, by)}</figure>"
        f"<figure><figcaption>{remarks}</figcaption></figure></div>",
    ]


def image_score(metrics: Metrics, image: Mapping[str, Any]) -> float | None:
    """The score an image is judged by, from its row: the foreground's Dice, or the mean IoU without background."""
    if metrics["task"] == "binary":
        score: float | None = image["dice"][metrics["classes"][1]]
        return score
    background = metrics["background"]
    ious = [image["iou"][name] for k, name in enumerate(metrics["classes"]) if k != background]
    defined = [iou for iou in ious if iou is not None]
    return sum(defined) / len(defined) if defined else None


def _worst(metrics: Metrics, worst: Sequence[Example]) -> list[str]:
    if not worst:
        return []
    by = metrics["worst"]["by"]
    legend = ERROR_LEGEND if metrics["background"] is not None or metrics["task"] == "multilabel" else RIGHT_OR_WRONG
    if metrics["task"] == "multiclass":
        legend = legend.replace("but missed", "but missed or taken for another class")
    legend += UNCERTAINTY_LEGEND if "uncertainty" in worst[0].pictures else ""
    legend += '<li><i style="background:#787878"></i>not counted</li>'
    articles = []
    for example in worst:
        pictures = "".join(
            figure(picture, caption, f"{example.name}: {caption}", photo=caption not in ("errors", "uncertainty"))
            for caption, picture in example.pictures.items()
        )
        title = f"<h3>{escape(example.name)} <small>{escape(by)} {example.score:.4f}</small></h3>"
        articles.append(f"<article>{title}<div class=strip>{pictures}</div></article>")
    count = "image" if len(worst) == 1 else f"{len(worst)} images"
    return [f"<h2>The worst {count}</h2>", f"<ul class=legend>{legend}</ul>", _class_legend(metrics), *articles]


def _class_legend(metrics: Metrics) -> str:
    """The colours of the classes in truth and prediction."""
    palette = default_palette(metrics["task"], len(metrics["classes"]), metrics["background"])
    keys = "".join(
        f'<li><i style="background:rgb({",".join(map(str, colour))})"></i>{escape(name)}</li>'
        for k, (name, colour) in enumerate(zip(metrics["classes"], palette.tolist(), strict=True))
        if k != metrics["background"]
    )
    return f"<ul class=legend>{keys}</ul>"


def _cell(value: float | None, interval: Sequence[float] | None) -> str:
    within = f"<small>{interval[0]:.3f}–{interval[1]:.3f}</small>" if interval else ""
    return f"<td class=number>{written(value)}{within}</td>"
