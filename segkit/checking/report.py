"""What a check found, as an object, as text and as JSON."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segkit.checking.alignment import Judgement
from segkit.checking.examine import Facts
from segkit.checking.findings import FIX, SEVERITIES, Finding, Severity
from segkit.checking.masks import Shares
from segkit.checking.picture_facts import PictureFacts
from segkit.checking.survey import Survey
from segkit.data.coding import Coding

SHOWN = 3  # places of a finding in the table


@dataclass(frozen=True)
class CheckReport:
    """Everything found wrong with a dataset, and what was looked at.

    Attributes:
        data: the dataset's folder.
        findings: most severe first.
        looked_at: pictures, splits, sizes, types and the classes' shares of the pixels.
        evidence: what the findings were drawn from, for mending.
    """

    data: str
    findings: tuple[Finding, ...]
    looked_at: dict[str, Any]
    evidence: "Evidence" = field(repr=False, compare=False)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that would stop or spoil a training."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that a training gets over, but perhaps not as meant."""
        return self._of("warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What was decided, and what to know."""
        return self._of("note")

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(found for found in self.findings if found.severity == severity)

    def table(self) -> str:
        """The report as text, most severe first, with up to three places of each finding."""
        lines = [self._headline(), *self._looked_at()]
        for severity in SEVERITIES:
            if found := self._of(severity):
                lines += ["", f"{severity}s"]
                for one in found:
                    more = f", … and {len(one.places) - SHOWN:,} more" if len(one.places) > SHOWN else ""
                    lines.append(f"  {one.title}: {len(one.places):,}")
                    lines.append(f"    {', '.join(map(str, one.places[:SHOWN]))}{more}")
                    lines.append(f"    {self._advice(one)}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values, with every place of each finding."""
        return {
            "data": self.data,
            **{f"{severity}s": len(self._of(severity)) for severity in SEVERITIES},
            "findings": [
                {
                    "severity": one.severity,
                    "kind": one.kind,
                    "title": one.title,
                    "count": len(one.places),
                    "places": [{"name": place.name, "detail": place.detail} for place in one.places],
                    "advice": self._advice(one),
                }
                for one in self.findings
            ],
            "looked_at": self.looked_at,
        }

    def _advice(self, found: Finding) -> str:
        """What to do; where the dataset has volumes, without the mending, which is of pictures alone."""
        if not self.evidence.seen.has_volumes:
            return found.advice
        advice, mending, _ = found.advice.partition(FIX)
        return advice.rstrip(" ;:") + "." if mending else advice

    def _headline(self) -> str:
        counts = [
            f"{len(found)} {severity}{'s' if len(found) > 1 else ''}"
            for severity in SEVERITIES
            if (found := self._of(severity))
        ]
        return f"{self.data}: {', '.join(counts) if counts else 'nothing wrong'}"

    def _looked_at(self) -> list[str]:
        seen = self.looked_at
        splits = ", ".join(f"{split} {count:,}" for split, count in seen["splits"].items())
        sizes, pixels = _listed(seen["sizes"], "sizes"), _listed(seen["pixels"], "kinds of pixels")
        lines = [f"  {seen['pictures']:,} pictures ({splits}), {sizes}, {pixels}"]
        if seen["depth"]:
            lines.append(f"  {_depth(seen['depth'])}")
        if seen["classes"]:
            shares = ", ".join(f"{name} {_percent(share)}" for name, share in seen["classes"].items())
            lines.append(f"  classes by their share of the pixels: {shares}")
        return lines


def _percent(share: float) -> str:
    """Two digits; above 99 % three, for it is never rounded to all of them."""
    return f"{100 * share:.{3 if share > 0.99 else 2}g} %"


@dataclass(frozen=True)
class Evidence:
    """What the findings were drawn from."""

    seen: Survey
    facts: tuple[Facts, ...]
    coding: Coding | None
    judgement: Judgement


def look_back(seen: Survey, facts: list[Facts], pixels: Shares | None) -> dict[str, Any]:
    """Return what was looked at, in figures."""
    read = [one.picture for one in facts if one.picture is not None]
    classes: dict[str, float] = {}
    if pixels is not None:
        total = sum(pixels.pixels.values(), np.zeros(len(pixels.classes), dtype=np.int64))
        whole = int(total.sum()) or 1
        if seen.description.task == "multilabel":
            whole = sum(one.size[0] * one.size[1] for one in read) or 1
        classes = {name: float(count / whole) for name, count in zip(pixels.classes, total, strict=True)}
    return {
        "pictures": len(seen.samples),
        "depth": _depth_looked_at(seen, facts),
        "splits": {split: len(stems) for split, stems in seen.splits.items()},
        "sizes": dict(Counter(_size(one) for one in facts if one.picture is not None).most_common()),
        "pixels": dict(Counter(_pixels(one) for one in read).most_common()),
        "classes": classes,
    }


def _size(one: Facts) -> str:
    assert one.picture is not None
    return one.volume.size if one.volume is not None else f"{one.picture.size[1]}×{one.picture.size[0]}"


def _depth_looked_at(seen: Survey, facts: list[Facts]) -> dict[str, Any] | None:
    """Figures of the depth maps; None where there are none."""
    maps = [one.depth for one in facts if one.depth is not None]
    if not maps:
        return None
    medians = [one.median for one in maps if one.median is not None]
    return {
        "maps": len(maps),
        "unit": seen.description.depth_unit,
        "measured": float(np.mean([one.measured for one in maps])),
        "middle": float(np.median(medians)) if medians else None,
    }


def _depth(depth: dict[str, Any]) -> str:
    """The depth maps in a line."""
    metres = depth["unit"] not in (None, "relative") and depth["middle"] is not None
    middle = f", its middle at {depth['middle']:.3g} m" if metres else ""
    return f"{depth['maps']:,} with depth, {100 * depth['measured']:.0f} % of it measured{middle}"


def _pixels(one: PictureFacts) -> str:
    return f"{one.dtype} in {one.channels} channel{'s' * (one.channels > 1)}"


def _listed(counts: dict[str, int], what: str) -> str:
    if not counts:
        return "none of them readable"
    if len(counts) > 3:
        return f"{len(counts)} different {what}, mostly {next(iter(counts))}"
    return " and ".join(counts)
