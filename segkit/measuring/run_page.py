"""A run over pictures or volumes as one page: what was found in each, what was left out, and what it was made with."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

import segkit
from segkit.files import write_whole
from segkit.measuring.table import COLUMNS, CaseMeasures, rows_of
from segkit.page import document, embedded

PAGE = "index.html"
ENOUGH = 500  # cases whose previews are in the page; those of the others are beside it
WIDTHS = {12: 960, 60: 640, 200: 400, ENOUGH: 240}  # pixels of a preview in the page, by how many there are at most

NOT_A_DEVICE = (
    "Not a medical device: these masks and figures were made by a program that nobody has approved for diagnosis or "
    "treatment. Whoever uses them looks at them first."
)
SHOWN: dict[str, tuple[str, ...]] = {  # columns of the page's table, and those that say more where a row has them
    "verdict": (),
    "expected_dice": (),
    "pixels": ("area_mm2",),
    "voxels": ("volume_ml",),
    "area_mm2": (),
    "volume_ml": (),
    "share": ("area_mm2", "volume_ml"),
    "components": (),
    "largest_component_pixels": ("largest_component_mm2",),
    "largest_component_voxels": ("largest_component_ml",),
    "largest_component_mm2": (),
    "largest_component_ml": (),
    "diameter_px": (),
    "diameter_mm": (),
    "axial_diameter_mm": (),
    "mean_probability": (),
}
UNITS = {"px": "px", "mm": "mm", "mm2": "mm²", "mm3": "mm³", "ml": "ml"}


def write_run_page(
    folder: str | Path,
    title: str,
    cases: Sequence[CaseMeasures],
    *,
    model: str,
    digest: str,
    settings: Mapping[str, Any],
    colours: Mapping[str, Sequence[int]],
    warnings: Sequence[str] = (),
    left_out: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write ``index.html`` into a run's folder, everything in it but the previews in full, which it links to.

    It is made of what a manifest keeps and of the preview files, so that a resumed run has the same page. It has no
    dates, loads nothing, and shows no text of the files predicted but the cases' names.

    Args:
        folder: that everything was written into.
        title: the page's.
        cases: in the order of the inputs; those without a mask are listed with what was left out.
        model: its name.
        digest: SHA-256 that tells it from all others.
        settings: of prediction, by name.
        colours: of each class that can be found, R, G, B, by name.
        warnings: what has to be known before the results are used or passed on, such as text burned into the pixels.
        left_out: names of what wasn't predicted, and why.

    Raises:
        UsageError: there is no room, or the folder can't be written to.
    """
    folder = Path(folder)
    gone = [*((case.name, case.error) for case in cases if case.error is not None), *left_out]
    done = [case for case in cases if case.error is None]
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=lead>{escape(_lead(done, gone))}</p>",
        f"<p class=soft>{escape(NOT_A_DEVICE)}</p>",
        _warnings(warnings),
        _table(done),
        _left_out(gone),
        _previews(folder, done, colours),
        _made_with(model, digest, settings),
        f"<footer>segkit {escape(segkit.__version__)}. {escape(NOT_A_DEVICE)}</footer>",
        SORTING,
    ]
    write_whole(folder / PAGE, document(title, "\n".join(part for part in body if part)))
    return folder / PAGE


def _lead(done: Sequence[CaseMeasures], gone: Sequence[tuple[str, str]]) -> str:
    review = sum(case.verdict == "review" for case in done)
    parts = [f"{len(done)} {'case' if len(done) == 1 else 'cases'} predicted"]
    parts += [f"{review} of them to be reviewed by someone first"] if review else []
    parts += [f"{len(gone)} left out"] if gone else []
    return ", ".join(parts) + "."


def _warnings(warnings: Sequence[str]) -> str:
    lines = "".join(f"<p>{escape(warning)}</p>" for warning in warnings)
    return f'<div class="card notes">{lines}</div>' if lines else ""


def _table(cases: Sequence[CaseMeasures]) -> str:
    """A row a case and class; a click on a heading sorts by it."""
    rows = [(number, row) for number, case in enumerate(cases) for row in rows_of([case])]
    if not rows:
        return ""
    columns = [
        column
        for column, better in SHOWN.items()
        if any(row.get(column) is not None and not any(other in row for other in better) for _, row in rows)
    ]
    headings = _heading("case", COLUMNS["case"], "left") + _heading("class", "that the figures are of", "left")
    headings += "".join(_heading(_titled(column), COLUMNS[column]) for column in columns)
    lines = [
        f'<tr><th scope=row><a href="#c{number}">{escape(row["case"])}</a></th>'
        f"<td style='text-align:left'>{escape(row['class'] or '')}</td>"
        f"{''.join(_cell(row.get(column)) for column in columns)}</tr>"
        for number, row in rows
    ]
    return (
        "<h2>What was found</h2>\n<p class=soft>Click a heading to sort by it; rest on it to read what it is. All of "
        "it, and more, is in measures.csv and measures.json.</p>\n"
        '<div class=card style="max-height:80vh"><table class="wide sortable">'
        f"<thead><tr>{headings}</tr></thead>\n"
        f"<tbody>{chr(10).join(lines)}</tbody></table></div>"
    )


def _heading(title: str, meaning: str, side: str = "right") -> str:
    return f'<th scope=col style="cursor:pointer;text-align:{side}" title="{escape(meaning)}">{escape(title)}</th>'


def _titled(column: str) -> str:
    """``largest_component_mm2`` → ``largest component, mm²``."""
    words = column.split("_")
    return f"{' '.join(words[:-1])}, {UNITS[words[-1]]}" if words[-1] in UNITS else " ".join(words)


def _cell(value: Any) -> str:
    if value is None:
        return "<td>–</td>"
    if isinstance(value, str):
        emphasis = " style='color:#d55e00;font-weight:600'" if value == "review" else ""
        return f"<td{emphasis}>{escape(value)}</td>"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:#.4g}" if abs(value) < 1e3 else f"{value:,.0f}"
    return f'<td data-v="{value}">{shown}</td>'


def _previews(folder: Path, cases: Sequence[CaseMeasures], colours: Mapping[str, Sequence[int]]) -> str:
    """A card a case; those to be reviewed have their previews in the page before the others have."""
    if not cases:
        return ""
    first = sorted(range(len(cases)), key=lambda number: cases[number].verdict != "review")[:ENOUGH]
    width = next(width for most, width in WIDTHS.items() if len(first) <= most)
    legend = "".join(
        f'<li><i style="background:rgb({",".join(str(int(part)) for part in colour)})"></i>{escape(name)}</li>'
        for name, colour in colours.items()
    )
    shown = set(first)
    cards = [_card(folder, case, number, width if number in shown else 0) for number, case in enumerate(cases)]
    beside = f"<p class=soft>The previews of {len(cases) - ENOUGH} more cases are files, linked to below.</p>"
    return (
        f"<h2>Case by case</h2>\n<ul class=legend>{legend}</ul>\n{beside if len(cases) > ENOUGH else ''}"
        f'<div style="display:grid;gap:1rem;align-items:start;'
        f'grid-template-columns:repeat(auto-fill,minmax(min(100%,{min(width, 640) // 16}rem),1fr))">\n'
        f"{chr(10).join(cards)}\n</div>"
    )


def _card(folder: Path, case: CaseMeasures, number: int, width: int) -> str:
    """A case: its preview, at most ``width`` wide or as a link, and what has to be known of it."""
    trust = case.trust or {}
    verdict = (
        f" <small>{escape(case.verdict or '')}, expected Dice {trust['predicted_dice']:.2f}</small>" if trust else ""
    )
    parts = [f'<article id="c{number}" style="margin:0"><h3>{escape(case.name)}{verdict}</h3>']
    if case.preview is not None:
        link = quote(case.preview.relative_to(folder).as_posix())
        picture = _thumbnail(case.preview, width) if width else None
        inside = f'<img src="{embedded(picture, photo=True)}" alt="{escape(case.name)}">' if picture is not None else ""
        parts.append(f'<a href="./{link}">{inside or "preview"}</a>')
    said = [*case.notes, *trust.get("unlike", ())]
    said += [each["notes"] for each in (case.measures or {}).values() if each.get("notes")]
    parts += [f"<p class=soft style='margin:.5rem 0 0'><small>{escape('; '.join(said))}</small></p>"] if said else []
    return "".join(parts) + "</article>"


def _thumbnail(path: Path, width: int) -> NDArray[np.uint8] | None:
    """A preview as RGB uint8, no wider and no higher than ``width``; None where the file isn't there any more."""
    data = np.fromfile(path, np.uint8) if path.is_file() else np.empty(0, np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if picture is None:
        return None
    scale = width / max(picture.shape[:2])
    if scale < 1:
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(picture[..., ::-1], np.uint8)


def _left_out(gone: Sequence[tuple[str, str]]) -> str:
    if not gone:
        return ""
    lines = "".join(
        f"<tr><th scope=row>{escape(name)}</th>"
        f'<td style="text-align:left;white-space:normal">{escape(reason)}</td></tr>'
        for name, reason in gone
    )
    return f"<h2>Left out</h2>\n<div class=card><table><tbody>{lines}</tbody></table></div>"


def _made_with(model: str, digest: str, settings: Mapping[str, Any]) -> str:
    facts = {"model": model, "SHA-256 of the model": digest, **settings}
    lines = "".join(
        f'<tr><th scope=row>{escape(name)}</th><td style="white-space:normal;overflow-wrap:anywhere">'
        f"{escape('none' if value is None else str(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<h2>Made with</h2>\n<div class=card><table><tbody>{lines}</tbody></table></div>"


SORTING = """<script>
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const down = head.ariaSort === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.ariaSort = down ? "descending" : "ascending";
    const value = row => row.cells[column].dataset.v ?? row.cells[column].textContent;
    const missing = row => value(row) === "–";
    const rows = [...body.rows], numbers = rows.some(row => "v" in row.cells[column].dataset);
    const compare = (a, b) => numbers ? value(a) - value(b) : value(a).localeCompare(value(b), "en");
    body.append(...rows.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : compare(a, b) * (down ? -1 : 1))));
  }));
}
</script>"""
