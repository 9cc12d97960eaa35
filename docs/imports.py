"""Which part of the house imports which: read from the files, and drawn. `python docs/imports.py` draws it anew.

A part is a package, or a module that lies in ``segkit/`` itself. Imports inside functions count too: they are there so
that what only some uses need isn't waited for by all. Those for type checkers alone don't.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACES = {"segkit": "segkit", **{leaf: f"segkit.{leaf}" for leaf in ("backbones", "necks", "heads", "configs")}}

UPWARDS = {"data": {"medical"}}  # a file's suffix decides which reader is fetched, and all readers give data
"""Imports that aren't counted, for the reason given."""

Imports = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module's name and file."""
    found = {}
    for place, package in PLACES.items():
        for file in sorted((ROOT / place).rglob("*.py")):
            inner = file.relative_to(ROOT / place).with_suffix("").parts
            found[".".join([package, *(name for name in inner if name != "__init__")])] = file
    return found


def part_of(module: str) -> str:
    """The package below segkit that a module is in, or the module itself."""
    return module.split(".")[1] if "." in module else "segkit"


def imported(file: Path) -> Iterator[str]:
    """Names of the modules of segkit, and what is taken from them, that a file imports."""
    yield from _imported(ast.parse(file.read_text(encoding="utf-8")))


def _imported(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ImportFrom) and child.module and child.module.split(".")[0] == "segkit":
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name.split(".")[0] == "segkit")
        yield from _imported(child)


def imports() -> Imports:
    """What each part imports of the others."""
    found: Imports = {}
    for module, file in modules().items():
        mine = found.setdefault(part_of(module), set())
        mine |= {part_of(name) for name in imported(file)} - {part_of(module), *UPWARDS.get(part_of(module), ())}
    return found


def floors(parts: Imports) -> list[list[str]]:
    """The parts by how far above the ground they are: each imports from floors below its own alone.

    Raises ValueError where some import one another in a circle.
    """
    above = {part: set(below) for part, below in parts.items()}
    found: list[list[str]] = []
    while above:
        ready = sorted(part for part, below in above.items() if not below & above.keys())
        if not ready:
            raise ValueError(f"these import one another in a circle, or what does: {', '.join(sorted(above))}")
        found.append(ready)
        for part in ready:
            del above[part]
    return found
