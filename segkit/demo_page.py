"""The demonstration's report: one HTML page with its pictures inside, that opens anywhere and loads nothing."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """One line of the table of scores: a model's name, what it is, and its figures in the order of the headings."""

    name: str
    what: str
    figures: tuple[float, ...]
    emphasised: bool = False


@dataclass(frozen=True)
class Example:
    """One test image: its name, a remark, and its pictures, uint8 RGB [H, W, 3], by caption."""

    name: str
    remark: str
    pictures: Mapping[str, Picture]


@dataclass(frozen=True)
class Command:
    """A command line to go on with, and what it does."""

    line: str
    what: str


def demo_page(
    *,
    lead: str,
    headings: Sequence[str],
    rows: Sequence[Row],
    footnote: str,
    examples: Sequence[Example],
    commands: Sequence[Command],
    colophon: str,
) -> str:
    """The page as text; every value is escaped, pictures are PNGs in base64."""
    return PAGE.substitute(
        lead=html.escape(lead),
        headings="".join(f"<th scope=col>{html.escape(heading)}</th>" for heading in headings),
        rows="\n".join(_row(row) for row in rows),
        footnote=html.escape(footnote),
        examples="\n".join(_example(example) for example in examples),
        commands="\n".join(
            f"<li><code>{html.escape(command.line)}</code><span>{html.escape(command.what)}</span></li>"
            for command in commands
        ),
        colophon=html.escape(colophon),
    )


def _row(row: Row) -> str:
    figures = "".join(f"<td>{figure:.4f}</td>" for figure in row.figures)
    name = f"<th scope=row>{html.escape(row.name)}<small>{html.escape(row.what)}</small></th>"
    return f"<tr{' class=best' if row.emphasised else ''}>{name}{figures}</tr>"


def _example(example: Example) -> str:
    figures = "".join(
        f'<figure><img src="{_embedded(picture)}" width="{picture.shape[1]}" height="{picture.shape[0]}"'
        f' alt="{html.escape(f"{example.name}: {caption}")}"><figcaption>{html.escape(caption)}</figcaption></figure>'
        for caption, picture in example.pictures.items()
    )
    title = f"<h3>{html.escape(example.name)} <small>{html.escape(example.remark)}</small></h3>"
    return f"<article>{title}<div class=strip>{figures}</div></article>"


def _embedded(picture: Picture) -> str:
    """A picture as a data URL."""
    written, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    assert written  # PNG takes any uint8 picture
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"


PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>segkit demo</title>
<style>
:root { --paper: #fbfaf7; --card: #fff; --ink: #1d2126; --soft: #626a73; --line: #e3e0d9; --accent: #0b6e63;
        --tint: #e7f2f0; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171a; --card: #1c2024; --ink: #e8e6e1; --soft: #9aa3ab; --line: #2e343a; --accent: #63c7b8;
          --tint: #1b2f2d; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%;
       font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: clamp(1.25rem, 4vw, 3.5rem); }
h1 { font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 0 .6rem; }
h2 { font-size: 1.2rem; margin: 3rem 0 .8rem; letter-spacing: -.01em; }
h3 { font-size: .95rem; margin: 0 0 .7rem; display: flex; flex-wrap: wrap; gap: 0 .8rem; align-items: baseline; }
p { max-width: 46rem; margin: 0 0 1rem; } .lead { font-size: 1.1rem; } small, .soft { color: var(--soft); }
h3 small { font-weight: 400; font-size: .85rem; }
.card, article { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.card { overflow-x: auto; } article { padding: 1rem; margin: 0 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .7rem 1rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; } tbody tr:last-child > * { border-bottom: 0; }
thead th { font-size: .82rem; font-weight: 500; color: var(--soft); }
tbody th { font-weight: 600; }
tbody th small { display: block; font-weight: 400; line-height: 1.3; white-space: normal; }
@media (max-width: 34rem) { th, td { padding: .6rem .35rem; white-space: normal; font-size: .84rem; } }
.best > * { background: var(--tint); } .best td, .best th { color: var(--accent); font-weight: 600; }
.card + p { margin-top: .7rem; font-size: .88rem; }
.strip { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); }
figure { margin: 0; } img { display: block; width: 100%; height: auto; border-radius: 6px; }
figcaption { font-size: .8rem; color: var(--soft); padding-top: .3rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; font-size: .88rem; margin: 0 0 1rem; padding: 0;
          list-style: none; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin-right: .45rem;
            border: 1px solid var(--line); vertical-align: -1px; }
.commands { list-style: none; padding: 0; margin: 0; display: grid; gap: .8rem; grid-template-columns: minmax(0, 1fr); }
.commands code { display: block; overflow-x: auto; padding: .7rem .9rem; background: var(--card); color: var(--ink);
                 border: 1px solid var(--line); border-radius: 8px; white-space: pre; user-select: all;
                 font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.commands span { font-size: .88rem; color: var(--soft); }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .85rem;
         color: var(--soft); }
</style>
<main>
<h1>From no data to an ensemble</h1>
<p class=lead>$lead</p>
<h2>How good they are</h2>
<div class=card><table>
<thead><tr><th scope=col>Model</th>$headings</tr></thead>
<tbody>
$rows
</tbody>
</table></div>
<p class=soft>$footnote</p>
<h2>What the ensemble sees</h2>
<ul class=legend>
<li><i style="background:#e8e8e8"></i>found and there</li>
<li><i style="background:#56b4e9"></i>found, but not there</li>
<li><i style="background:#d55e00"></i>there, but missed</li>
<li><i style="background:linear-gradient(90deg,#000004,#b73779,#fcfdbf)"></i>sure to unsure</li>
</ul>
$examples
<h2>Go on</h2>
<ul class=commands>
$commands
</ul>
<footer>$colophon</footer>
</main>
</html>
""")
