"""Which part of the house imports which: read from the files, and drawn. `python docs/imports.py` draws it anew.

A part is a package, or a module that lies in ``segkit/`` itself. Imports inside functions count too: they are there so
that what only some uses need isn't waited for by all. Those for type checkers alone don't.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACES = {"segkit": "segkit", **{leaf: f"segkit.{leaf}" for leaf in ("backbones", "necks", "heads", "configs")}}

LEAVES, MODELS = ("backbones", "necks", "heads"), ("model", "ensemble", "recipe")
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


def large(parts: Imports) -> Imports:
    """The same of packages and the models alone; what is imported through a small module counts for who imports it."""
    kept = {part for part in parts if (ROOT / "segkit" / part).is_dir() or part in (*LEAVES, *MODELS)}

    def below(part: str) -> set[str]:
        return {each for other in parts[part] for each in ({other} if other in kept else below(other))}

    return {part: below(part) for part in parts if part in kept}


def draw(path: Path) -> None:
    """The house in one picture: each part above all that it imports, a line to those that no other line leads to."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    parts = large(imports())
    lines = dict.fromkeys(parts, 0)
    for module, file in modules().items():
        if part_of(module) in lines:
            lines[part_of(module)] += len(file.read_text(encoding="utf-8").splitlines())
    levels = floors(parts)
    places: dict[str, tuple[float, int]] = {}
    for row, level in enumerate(levels):
        for column, part in enumerate(sorted(level, key=lambda part: _lean(part, parts, places))):
            places[part] = ((column + 0.5) / len(level) + 0.04 * (row % 2 - 0.5), row)
    figure, axes = plt.subplots(figsize=(11, 10), dpi=100)
    for part, below in _longest(parts).items():
        for other in below:
            arrow = {"arrowstyle": "-|>", "color": "#35618e", "linewidth": 0.9, "shrinkA": 12, "shrinkB": 14}
            axes.annotate("", xy=places[other], xytext=places[part], arrowprops=arrow, zorder=1)
    for part, (x, y) in places.items():
        colour = "#fde3c8" if part in LEAVES else "#e6f0e6"
        box = {"boxstyle": "round,pad=0.4", "facecolor": colour, "edgecolor": "#7a8a99", "linewidth": 0.7}
        text = f"{part}\n{lines[part]:,} lines"
        axes.text(x, y, text, ha="center", va="center", fontsize=9, zorder=3, bbox=box)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.5, len(levels) - 0.5)
    axes.axis("off")
    figure.tight_layout(pad=0.3)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _lean(part: str, parts: Imports, places: dict[str, tuple[float, int]]) -> tuple[float, str]:
    """How far to the right what a part imports lies, so that arrows cross little."""
    below = [places[other][0] for other in parts[part] if other in places]
    return (sum(below) / len(below) if below else 0.5), part


def _longest(parts: Imports) -> Imports:
    """Imports that nothing between explains: of those that go through another import, only that one."""
    reach: Imports = {}

    def reached(part: str) -> set[str]:
        if part not in reach:
            reach[part] = set(parts[part]).union(*(reached(other) for other in parts[part]))
        return reach[part]

    return {
        part: {other for other in below if not any(other in reached(between) for between in below)}
        for part, below in parts.items()
    }


if __name__ == "__main__":
    draw(Path(__file__).parent / "architecture.png")
