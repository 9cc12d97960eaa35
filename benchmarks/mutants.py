"""Whether the tests notice: one place of the code is changed at a time, and the tests of its file are run.

    python benchmarks/mutants.py [--count 200] [--seed 0] [--seconds 120] [--results FILE]

What is changed lies in losses, metrics, tiles, ensembles and bridges (SUBJECTS, with their tests). Of all places where
one of these changes can be made, as many as asked for are drawn: a comparison becomes its neighbour (< to <=, == to !=)
or its opposite, + becomes -, × becomes ÷, `and` becomes `or`, a condition its opposite, a number one more, True False,
min max. Docstrings, messages and type hints stay. A mutant that all tests pass survives: either no test looks there, or
nothing can be seen of it. One that takes longer than --seconds is ended, and counts as noticed.

Nothing in the checkout is touched: a copy of the packages is changed and comes first on the path. Each run is a fork of
a process that has PyTorch loaded already. About six seconds a mutant on one core. What is in FILE is not made again.
"""

import argparse
import ast
import contextlib
import copy
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "mutants.json"
SUBJECTS = {
    "segkit/training/losses.py": ["tests/training/test_losses.py"],
    "segkit/training/loss.py": ["tests/training/test_losses.py"],
    "segkit/training/pixel_losses.py": ["tests/training/test_pixel_losses.py", "tests/training/test_losses.py"],
    "segkit/training/region_losses.py": ["tests/training/test_region_losses.py", "tests/training/test_losses.py"],
    "segkit/evaluation/metrics.py": ["tests/evaluation/test_metrics.py", "tests/evaluation/test_thresholds.py"],
    "segkit/evaluation/scores.py": ["tests/evaluation/test_scores.py", "tests/evaluation/test_metrics.py"],
    "segkit/evaluation/calibration.py": ["tests/evaluation/test_calibration.py", "tests/evaluation/test_metrics.py"],
    "segkit/evaluation/selective.py": ["tests/evaluation/test_selective.py"],
    "segkit/evaluation/intervals.py": ["tests/evaluation/test_intervals.py"],
    "segkit/evaluation/pairing.py": ["tests/evaluation/test_pairing.py"],
    "segkit/evaluation/thresholds.py": ["tests/evaluation/test_thresholds.py"],
    "segkit/prediction/tiles.py": ["tests/prediction/test_tiles.py", "tests/prediction/test_bands.py"],
    "segkit/prediction/bands.py": ["tests/prediction/test_bands.py", "tests/prediction/test_tiles.py"],
    "segkit/prediction/views.py": ["tests/prediction/test_views.py"],
    "segkit/ensemble.py": ["tests/test_ensemble.py"],
    "segkit/statistics.py": ["tests/test_statistics.py", "tests/test_ensemble.py"],
    "segkit/combining/combination.py": ["tests/combining", "tests/test_ensemble.py"],
    "segkit/combining/gate.py": ["tests/combining", "tests/test_ensemble.py"],
    "segkit/combining/logit_mean.py": ["tests/combining", "tests/test_ensemble.py"],
    "segkit/combining/stack.py": ["tests/combining", "tests/test_ensemble.py"],
    "segkit/combining/sums.py": ["tests/combining", "tests/test_ensemble.py"],
    "segkit/fitting/judge.py": ["tests/fitting/test_judge.py"],
    "segkit/fitting/temperature.py": ["tests/fitting/test_temperature.py"],
    "segkit/fitting/weights.py": ["tests/fitting/test_weights.py"],
    "segkit/trusting/quality.py": ["tests/trusting/test_quality.py"],
    "necks/bridges/attention.py": ["tests/necks/test_bridges.py"],
    "necks/bridges/concat.py": ["tests/necks/test_bridges.py"],
    "necks/bridges/gated.py": ["tests/necks/test_bridges.py"],
    "necks/bridges/se.py": ["tests/necks/test_bridges.py"],
    "backbones/bridged.py": ["tests/backbones/test_bridged.py", "tests/necks/test_bridges.py"],
}
COMPARED = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
COMPUTED = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
    ast.MatMult: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
}
NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "argmin": "argmax", "any": "all"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=120, help="longest run of one mutant")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows: dict[str, Any] = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
    drawn = random.Random(arguments.seed).sample(places(), arguments.count)
    with tempfile.TemporaryDirectory() as folder:
        copy_packages(Path(folder))
        sys.path.insert(0, folder)
        import pytest  # noqa: F401 - loaded once for all forks
        import torch

        torch.set_num_threads(1)
        keys, sound = [], set()
        for subject, number in sorted(drawn):
            changed, line, what = mutant(subject, number)
            key = f"{subject}:{line} {what} #{number}"
            keys.append(key)
            if key in rows:
                continue
            if subject not in sound:
                check_sound(Path(folder), subject, 5 * arguments.seconds)
                sound.add(subject)
            began = time.monotonic()
            outcome = run(Path(folder), subject, changed, arguments.seconds)
            rows[key] = {"outcome": outcome, "seconds": round(time.monotonic() - began, 1)}
            print(f"{outcome:9} {rows[key]['seconds']:5} s  {key}", flush=True)
            arguments.results.parent.mkdir(parents=True, exist_ok=True)
            arguments.results.write_text(json.dumps(rows, indent=1) + "\n")
    now = [rows[key] for key in keys]
    print(f"{len(now)} mutants, {sum(row['outcome'] == 'survived' for row in now)} survived")


def places() -> list[tuple[str, int]]:
    """Every change that can be made: its file, and its number there."""
    return [
        (subject, number)
        for subject in SUBJECTS
        for number in range(len(list(changes(ast.parse((ROOT / subject).read_text(encoding="utf-8"))))))
    ]


def mutant(subject: str, number: int) -> tuple[str, int, str]:
    """The changed file, the line, and what is changed there."""
    tree = ast.parse((ROOT / subject).read_text(encoding="utf-8"))
    node, replacement = list(changes(tree))[number]
    what = f"{ast.unparse(node)} -> {ast.unparse(replacement)}"
    changed = ast.fix_missing_locations(_Put(node, replacement).visit(tree))
    return ast.unparse(changed), node.lineno, what


def changes(tree: ast.AST) -> Iterator[tuple[Any, Any]]:
    """Expressions of a file, each with what it becomes."""
    for node in _code(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            for kind in COMPARED.get(type(node.ops[0]), []):
                yield node, _with(node, ops=[kind()])
        elif isinstance(node, ast.BinOp):
            for kind in COMPUTED.get(type(node.op), []):
                yield node, _with(node, op=kind())
        elif isinstance(node, ast.BoolOp):
            yield node, _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        elif isinstance(node, ast.IfExp):
            yield node, _with(node, body=node.orelse, orelse=node.body)
        elif isinstance(node, ast.UnaryOp):
            yield node, node.operand
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node, _with(node, value=not node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            yield node, _with(node, value=node.value + 1)
        elif isinstance(node, ast.Attribute) and node.attr in NAMES:
            yield node, _with(node, attr=NAMES[node.attr])
        elif isinstance(node, ast.Name) and node.id in NAMES:
            yield node, _with(node, id=NAMES[node.id])


def _code(node: ast.AST) -> Iterator[Any]:
    """All that computes: no hints, no messages of errors, no text."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr | ast.Import):
                continue
            if isinstance(child, ast.Subscript) and isinstance(node, ast.ClassDef | ast.AnnAssign):
                continue
            if isinstance(child, ast.Assign) and ast.unparse(child.targets[0])[0].isupper():
                continue  # a constant, or a name for a type
            yield child
            yield from _code(child)


def _with(node: Any, **fields: Any) -> Any:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


class _Put(ast.NodeTransformer):
    def __init__(self, node: ast.AST, replacement: ast.AST) -> None:
        self.node, self.replacement = node, replacement

    def visit(self, node: ast.AST) -> Any:
        return self.replacement if node is self.node else super().visit(node)


def copy_packages(folder: Path) -> None:
    """The packages as they are installed."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "segkit", folder / "segkit", ignore=skip)
    for leaf in ("backbones", "necks", "heads", "configs"):
        shutil.copytree(ROOT / leaf, folder / "segkit" / leaf, ignore=skip)


def run(folder: Path, subject: str, text: str, seconds: int) -> str:
    """``killed``, ``survived``, or ``hung`` for longer than that."""
    place = folder / subject if subject.startswith("segkit/") else folder / "segkit" / subject
    kept = place.read_text(encoding="utf-8")
    place.write_text(text, encoding="utf-8")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _tests(folder, SUBJECTS[subject])
        finally:
            os._exit(code)
    try:
        return _waited(child, seconds)
    finally:
        place.write_text(kept, encoding="utf-8")


def check_sound(folder: Path, subject: str, seconds: int) -> None:
    """Stop where the tests of a file fail as it is, or look at another copy of it: every mutant would seem noticed."""
    outcome = run(folder, subject, (ROOT / subject).read_text(encoding="utf-8"), seconds)
    if outcome != "survived":
        sys.exit(f"{subject}: its tests ({', '.join(SUBJECTS[subject])}) don't pass without a change: {outcome}")


def _waited(child: int, seconds: int) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "survived" if status == 0 else "killed"
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"


def _tests(folder: Path, tests: list[str]) -> int:
    """The exit code of the tests, in this process."""
    import pytest
    from hypothesis import settings

    settings.register_profile("mutants", derandomize=True, database=None)  # the same examples each time, none kept
    settings.load_profile("mutants")
    os.chdir(ROOT)
    sys.dont_write_bytecode = True
    sys.path[:] = [str(folder), *(entry for entry in sys.path if Path(entry).resolve() != ROOT)]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):  # noqa: PTH123 - a device
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
    import segkit

    assert segkit.__file__ is not None
    if not segkit.__file__.startswith(str(folder)):
        return 9  # as if killed: what was tested isn't the mutant
    return code


if __name__ == "__main__":
    main()
