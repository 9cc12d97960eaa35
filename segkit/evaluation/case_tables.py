"""What surface distances and lesions look like in a report: cells of a CSV file, and tables for text and page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

from segkit.evaluation.scores import written
from segkit.evaluation.surface import STATES

Metrics = Mapping[str, Any]
Row = Callable[[Metrics, str], list[str]]  # of one model's figures and a class


@dataclass(frozen=True)
class CaseTable:
    """One table.

    Attributes:
        title: what it is about.
        first: what its rows are, above their names.
        columns: of each what it is averaged over, and its name.
        rows: a name and its figures.
        definitions: of what the names mean; only with the first table of a title.
    """

    title: str
    first: str
    columns: Sequence[tuple[str, str]]
    rows: list[list[str]]
    definitions: Mapping[str, str]


def case_tables(metrics: Metrics, members: Mapping[str, Metrics]) -> list[CaseTable]:
    """The tables of what was asked for, with one row a class (binary: one row a model)."""
    return [*_surface(metrics, members), *_lesions(metrics, members)]


def case_parts(metrics: Metrics, members: Mapping[str, Metrics]) -> list[str]:
    """The same tables as parts of an HTML page, each title's definitions below its first table."""
    parts = []
    for table in case_tables(metrics, members):
        over = "".join(
            f"<th scope=colgroup colspan={len(list(columns))}>{escape(group)}</th>"
            for group, columns in groupby(table.columns, key=lambda column: column[0])
        )
        heads = "".join(f"<th scope=col>{escape(name)}</th>" for name in (table.first, *(n for _, n in table.columns)))
        lines = "".join(
            f"<tr><th scope=row>{escape(name)}</th>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
            for name, *cells in table.rows
        )
        parts += [f"<h2>{escape(table.title.capitalize())}</h2>"] if table.definitions else []
        parts.append(
            f"<div class=card><table class=wide><thead><tr><th></th>{over}</tr><tr>{heads}</tr></thead>"
            f"<tbody>{lines}</tbody></table></div>"
        )
        terms = "".join(f"<dt>{escape(name)}</dt><dd>{escape(words)}</dd>" for name, words in table.definitions.items())
        parts += [f"<dl>{terms}</dl>"] if terms else []
    return parts


def case_cells(metrics: Metrics, i: int) -> dict[str, Any]:
    """The figures of the i-th image under names that say their unit; undefined is None."""
    cells: dict[str, Any] = {}
    if metrics["surface"] is not None:
        names = _surface_names(metrics["surface"])
        for label, row in metrics["surface"]["images"][i]["per_class"].items():
            cells |= {f"{name} {label}": row[key] for key, name in names.items()}
            cells[f"surface {label}"] = row["state"]
    if metrics["lesions"] is not None:
        names = {"true": "lesions", "found": "lesions found", "false": "false lesions", "dice": "lesion Dice"}
        for label, row in metrics["lesions"]["images"][i]["per_class"].items():
            cells |= {f"{name} {label}": row[key] for key, name in names.items()}
    return cells


def _surface(metrics: Metrics, members: Mapping[str, Metrics]) -> list[CaseTable]:
    surface = metrics["surface"]
    if surface is None:
        return []
    names = _surface_names(surface)
    counts = STATES
    defined = surface["definitions"]
    definitions = {name: defined[key] for key, name in names.items()} | {key: defined[key] for key in counts}

    def of_images(each: Metrics, label: str) -> list[str]:
        found = each["surface"]["per_class"][label]
        return [*_spread(found, names), *(str(found[key]) for key in counts)]

    def of_groups(each: Metrics, label: str) -> list[str]:
        found = each["surface"]["groups"]["per_class"][label]
        return [*_spread(found, names), str(found["hd95"]["groups"])]

    def columns(over: str) -> list[tuple[str, str]]:
        return [(f"{kind} over {over}", name) for kind in ("mean", "median") for name in names.values()]

    title = "surface distances"
    tables = [
        _case_table(title, [*columns("images"), *(("images", key) for key in counts)], of_images, metrics, members)
    ]
    if surface["groups"] is not None:
        definitions["groups"] = defined["groups"]
        tables.append(_case_table(title, [*columns("groups"), ("groups", "measured")], of_groups, metrics, members))
    return _defined(tables, definitions)


def _lesions(metrics: Metrics, members: Mapping[str, Metrics]) -> list[CaseTable]:
    lesions = metrics["lesions"]
    if lesions is None:
        return []
    names = {"sensitivity": "sensitivity", "precision": "precision", "f1": "F1", "dice": "Dice of found"}
    counts = ("true", "found", "false")
    defined = lesions["definitions"]
    definitions = {key: defined[key] for key in ("lesion", "found", "false")}
    definitions |= {name: defined[key] for key, name in names.items()}

    def pooled(each: Metrics, label: str) -> list[str]:
        found = each["lesions"]["pooled"]["per_class"][label]
        return [*(str(found[key]) for key in counts), *(written(found[key]) for key in names)]

    def means(each: Metrics, part: str, label: str) -> list[str]:
        found = each["lesions"][part]["per_class"][label]
        return [written(found[key]["mean"]) for key in (*names, "false")]

    def columns(over: str) -> list[tuple[str, str]]:
        return [(f"mean over {over}", name) for name in (*names.values(), "false")]

    title = "lesions"
    all_of_them = [*(("all lesions", key) for key in counts), *(("all lesions", name) for name in names.values())]
    tables = [
        _case_table(title, all_of_them, pooled, metrics, members),
        _case_table(title, columns("images"), lambda m, label: means(m, "mean_over_images", label), metrics, members),
    ]
    if lesions["groups"] is not None:
        definitions["groups"] = defined["groups"]
        tables.append(
            _case_table(title, columns("groups"), lambda m, label: means(m, "groups", label), metrics, members)
        )
    return _defined(tables, definitions)


def _surface_names(surface: Metrics) -> dict[str, str]:
    unit = surface["unit"]
    return {"hd95": f"HD95 {unit}", "asd": f"ASD {unit}", "nsd": f"NSD at {surface['tolerance']:g} {unit}"}


def _spread(found: Metrics, names: Mapping[str, str]) -> list[str]:
    return [written(found[key][kind]) for kind in ("mean", "median") for key in names]


def _case_table(
    title: str, columns: Sequence[tuple[str, str]], row: Row, metrics: Metrics, members: Mapping[str, Metrics]
) -> CaseTable:
    if metrics["task"] == "binary":
        foreground = metrics["classes"][1]
        models = {"ensemble" if members else foreground: metrics, **members}
        rows = [[name, *row(each, foreground)] for name, each in models.items()]
        return CaseTable(title, foreground, columns, rows, {})
    kept = [name for k, name in enumerate(metrics["classes"]) if k != metrics["background"]]
    return CaseTable(title, "class", columns, [[name, *row(metrics, name)] for name in kept], {})


def _defined(tables: list[CaseTable], definitions: Mapping[str, str]) -> list[CaseTable]:
    first, *others = tables
    return [CaseTable(first.title, first.first, first.columns, first.rows, definitions), *others]
