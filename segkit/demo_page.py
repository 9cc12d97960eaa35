"""The demonstration's report: one HTML page with its pictures inside, that opens anywhere and loads nothing."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template

from segkit.page import ERROR_LEGEND, UNCERTAINTY_LEGEND, Picture, document, figure


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
    body = BODY.substitute(
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
        legend=f"{ERROR_LEGEND}\n{UNCERTAINTY_LEGEND}",
    )
    return document("segkit demo", body)


def _row(row: Row) -> str:
    figures = "".join(f"<td>{figure:.4f}</td>" for figure in row.figures)
    name = f"<th scope=row>{html.escape(row.name)}<small>{html.escape(row.what)}</small></th>"
    return f"<tr{' class=best' if row.emphasised else ''}>{name}{figures}</tr>"


def _example(example: Example) -> str:
    figures = "".join(
        figure(picture, caption, f"{example.name}: {caption}") for caption, picture in example.pictures.items()
    )
    title = f"<h3>{html.escape(example.name)} <small>{html.escape(example.remark)}</small></h3>"
    return f"<article>{title}<div class=strip>{figures}</div></article>"


BODY = Template("""<h1>From no data to an ensemble</h1>
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
$legend
</ul>
$examples
<h2>Go on</h2>
<ul class=commands>
$commands
</ul>
<footer>$colophon</footer>""")
