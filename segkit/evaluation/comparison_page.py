"""The comparison of models on the same images as a page: differences with their intervals, image by image."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import segkit
from segkit.evaluation.figures import interval_chart, pair_chart
from segkit.evaluation.report_page import notes_card, score_table
from segkit.evaluation.score_rows import score_rows, title_line
from segkit.evaluation.scores import written
from segkit.evaluation.table import comparison_remarks, notes_of_several
from segkit.page import document

Metrics = Mapping[str, Any]

LISTED = 5  # images on which they differ most, on either side


def comparison_page(models: Mapping[str, Metrics], pairs: Mapping[str, Metrics]) -> str:
    """The page as text; every value is escaped, figures are SVG."""
    first, metrics = next(iter(models.items()))
    letters = {name: chr(ord("A") + i) if i < 26 else f"model {i + 1}" for i, name in enumerate(models)}
    keys = "".join(
        f"<dt>{letters[name]} &nbsp;{escape(name)}</dt><dd>{escape(title_line(each))}. "
        f'<a href="model_{i}/index.html">Its own report</a></dd>'
        for i, (name, each) in enumerate(models.items(), start=1)
    )
    notes = notes_of_several({letters[name]: each for name, each in models.items()})
    body = [
        f"<h1>{len(models)} models on {escape(metrics['data'])}</h1>",
        "".join(f"<p class=lead>{escape(_lead(letters[first], letters[name], p))}</p>" for name, p in pairs.items()),
        f"<dl>{keys}</dl>",
        notes_card(notes),
        *(part for name, pair in pairs.items() for part in _pair(letters[first], letters[name], pair)),
        "<h2>Scores of each</h2>",
        score_table({letters[name]: each for name, each in models.items()}, score_rows(metrics)),
        f"<footer>segkit {segkit.__version__}. The figures are in comparison.json and per_image.csv; docs/metrics.md "
        "says how each is counted.</footer>",
    ]
    return document(f"{len(models)} models on {metrics['data']}", "\n".join(body))


def _lead(a: str, b: str, pair: Metrics) -> str:
    """The headline's difference in one sentence."""
    row = pair["scores"][0]
    what, difference, interval = f"{row['of']}, {row['averaged']}", row["difference"], row["interval"]
    if difference is None:
        return f"{what}: undefined for {a} or {b}."
    if difference == 0:
        return f"{what}: {a} and {b} are equal."
    said = f"{what}: {b} is {abs(difference):.4f} {'above' if difference > 0 else 'below'} {a}"
    if interval is None:
        few = f"one {pair['unit']}" if pair["units"] == 1 else f"so few {pair['unit']}s that hold it"
        return f"{said}; of {few} nothing more can be said."
    within = f"{said} ({interval[0]:+.4f} to {interval[1]:+.4f} with 95 % confidence, p = {row['p']:.4f})"
    verdict = (
        "" if interval[0] > 0 or interval[1] < 0 else ". The interval holds 0: these images don't show which is better"
    )
    return f"{within}{verdict}."


def _pair(a: str, b: str, pair: Metrics) -> list[str]:
    rows = [(f"{row['of']}, {row['averaged']}", row) for row in pair["scores"]]
    chart = interval_chart(
        [(_short(row), row["difference"], row["interval"]) for _, row in rows],
        zero=True,
        what=f"{b} minus {a}: right of the dashed line {b} is better",
    )
    lines = "".join(f"<tr><th scope=row>{escape(name)}</th>{_cells(row)}</tr>" for name, row in rows)
    heads = "".join(f"<th scope=col>{head}</th>" for head in (a, b, f"{b} − {a}", "p"))
    remarks = escape(" ".join(_renamed(comparison_remarks(pair), a, b)))
    both = [
        (image["name"], image["first"], image["second"])
        for image in pair["images"]
        if image["first"] is not None and image["second"] is not None
    ]
    scatter = ""
    if len(both) > 1:
        by = pair["score_of_an_image"]
        figure = pair_chart(both, f"{by} of each image by {a}", f"by {b}")
        scatter = f"<figure>{figure}</figure>"
    return [
        f"<h2>{b} against {a}</h2>",
        f'<div class="card chart"><figure>{chart}</figure></div>',
        f'<div class=card><table class=scores style="--columns:4">'
        f"<thead><tr><th scope=col>Score</th>{heads}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>",
        f"<p class=soft>{remarks}</p>",
        "<h3>Image by image</h3>",
        f'<div class="card chart">{scatter}<div>{_most(both, a, b)}</div></div>',
    ]


def _most(both: Sequence[tuple[str, float, float]], a: str, b: str) -> str:
    """The images on which they differ most, a list for either side."""
    ordered = sorted(both, key=lambda image: image[2] - image[1])
    parts = []
    for better, rows in ((b, [r for r in ordered[::-1] if r[2] > r[1]]), (a, [r for r in ordered if r[1] > r[2]])):
        if rows:
            lines = "".join(
                f"<tr><th scope=row>{escape(name)}</th><td>{written(x)}</td><td>{written(y)}</td></tr>"
                for name, x, y in rows[:LISTED]
            )
            parts.append(
                f"<table><thead><tr><th scope=col>{better} is better most on</th><th scope=col>{a}</th>"
                f"<th scope=col>{b}</th></tr></thead><tbody>{lines}</tbody></table>"
            )
    return "<br>".join(parts) or "<p>They are equal on every image.</p>"


def _cells(row: Metrics) -> str:
    difference, interval, chance = row["difference"], row["interval"], row["p"]
    within = f"<small>{interval[0]:+.4f} to {interval[1]:+.4f}</small>" if interval else ""
    return (
        f"<td>{written(row['first'])}</td><td>{written(row['second'])}</td>"
        f"<td class=number>{'–' if difference is None else f'{difference:+.4f}'}{within}</td>"
        f"<td>{'–' if chance is None else f'{chance:.4f}'}</td>"
    )


def _short(row: Metrics) -> str:
    return f"{row['of']}, {row['averaged']}".replace(" without background", " w/o background").replace(
        "mean over images", "per image"
    )


def _renamed(remarks: Sequence[str], a: str, b: str) -> list[str]:
    """The remarks with the letters of this page's models in the place of A and B."""
    return [remark.replace(" B on ", f" {b} on ").replace(" A is ", f" {a} is ") for remark in remarks]
