"""What an import took and what it left, as an object, as text and as JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.importing.layout import Group, Kind
from segkit.task import Task

SHOWN = 3  # names of a group in the table


@dataclass(frozen=True)
class ImportReport:
    """An imported dataset.

    Attributes:
        kind: the layout that it had.
        source: where it was.
        out: where it is.
        name: the dataset's.
        task: what is to be learnt.
        classes: names, in the order of their ids.
        cases: how many there are.
        splits: how many each split has; empty where they are drawn when the dataset is opened.
        linked: whether files are links to the source's.
        notes: what was decided.
        warnings: what to look at, and the cases that it is true of.
        left_out: what was not taken, and why.
    """

    kind: Kind
    source: Path
    out: Path
    name: str
    task: Task
    classes: tuple[str, ...]
    cases: int
    splits: dict[str, int]
    linked: bool
    notes: tuple[str, ...]
    warnings: tuple[Group, ...]
    left_out: tuple[Group, ...]

    def table(self) -> str:
        """The report as text, with up to three names of each group."""
        counts = ", ".join(f"{split} {count:,}" for split, count in self.splits.items())
        of_them = f" ({counts})" if counts else ""
        lines = [
            f"{self.source} ({self.kind}) into {self.out}: {self.cases:,} case{'s' * (self.cases != 1)}{of_them}",
            f"  {self.task}: {', '.join(self.classes)}",
            *(["  images and masks that needn't change are links to the source"] if self.linked else []),
            *(f"  {note}" for note in self.notes),
        ]
        for title, groups in (("warnings", self.warnings), ("left out", self.left_out)):
            if groups:
                lines += ["", title]
            for group in groups:
                more = f", … and {len(group.names) - SHOWN:,} more" if len(group.names) > SHOWN else ""
                lines += [f"  {group.what}: {len(group.names):,}", f"    {', '.join(group.names[:SHOWN])}{more}"]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values, with every name."""
        return {
            "kind": self.kind,
            "source": str(self.source),
            "out": str(self.out),
            "name": self.name,
            "task": self.task,
            "classes": list(self.classes),
            "cases": self.cases,
            "splits": self.splits,
            "linked": self.linked,
            "notes": list(self.notes),
            "warnings": _listed(self.warnings),
            "left_out": _listed(self.left_out),
        }


def _listed(groups: tuple[Group, ...]) -> list[dict[str, Any]]:
    return [{"what": group.what, "count": len(group.names), "names": list(group.names)} for group in groups]
