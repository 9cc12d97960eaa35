"""The report is ordered, short as text, and whole as JSON."""

import json

import numpy as np
import pytest

import segkit
from segkit.checking.findings import KINDS, SEVERITIES, Finding, Place, sort_findings


def test_a_clean_dataset_is_told_in_three_lines(cells, monkeypatch):
    monkeypatch.chdir(cells.path.parent)
    report = segkit.check("cells")
    first, second, third = report.table().splitlines()
    assert first == "cells: nothing wrong"
    assert second == "  12 pictures (train 8, val 2, test 2), 64×64, uint8 in 3 channels"
    pixels = np.concatenate([cells.mask(name).ravel() for name in (*cells.train, *cells.val, *cells.test)])
    assert third == (
        "  classes by their share of the pixels: "
        f"background {100 * (1 - pixels.mean()):.2g} %, cell {100 * pixels.mean():.2g} %"
    )
    assert report.looked_at["classes"]["cell"] == pytest.approx(pixels.mean())
    assert (report.findings, report.errors, report.warnings, report.notes) == ((), (), (), ())


def test_the_most_severe_comes_first_and_only_three_places_are_shown(cells):
    for name in cells.train[:5]:
        (cells.path / f"masks/{name}.png").unlink()
    (cells.path / "images" / "notes.txt").touch()
    cells.write(f"images/{cells.val[0]}.png", np.zeros((64, 64, 3), np.uint8))
    report = segkit.check(cells.path)
    assert [one.kind for one in report.findings] == ["no_mask", "constant", "other_files"]
    text = report.table()
    assert text.startswith(f"{cells.path}: 1 error, 1 warning, 1 note\n")
    listed = ", ".join(f"{name} (train)" for name in cells.train[:3])
    assert f"\nerrors\n  pictures in splits without a mask: 5\n    {listed}, … and 2 more\n    Draw the masks;" in text
    assert text.index("\nerrors\n") < text.index("\nwarnings\n") < text.index("\nnotes\n")


def test_the_json_has_every_place(cells):
    for name in cells.train[:5]:
        (cells.path / f"masks/{name}.png").unlink()
    told = json.loads(json.dumps(segkit.check(cells.path).to_json()))
    assert (told["errors"], told["warnings"], told["notes"]) == (1, 0, 0)
    [one] = told["findings"]
    assert (one["severity"], one["kind"], one["count"]) == ("error", "no_mask", 5)
    assert one["places"] == [{"name": name, "detail": "train"} for name in cells.train[:5]]
    assert told["looked_at"]["splits"] == {"train": 8, "val": 2, "test": 2}


def test_progress_counts_the_pictures(cells):
    steps = []
    from segkit.checking.run import check

    check(cells.path, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(number, 12) for number in range(1, 13)]


def test_kinds_are_listed_by_severity_and_say_what_to_do():
    severities = [SEVERITIES.index(kind.severity) for kind in KINDS.values()]
    assert severities == sorted(severities)
    assert all(kind.advice.endswith(".") and not kind.title[0].isupper() for kind in KINDS.values())
    findings = [Finding(kind, (Place("x"),)) for kind in reversed(KINDS)]
    assert [one.kind for one in sort_findings(findings)] == list(KINDS)
