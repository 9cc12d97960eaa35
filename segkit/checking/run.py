"""The whole check of a dataset: one look at its folder, one pass over its files, then what they say together."""

from collections.abc import Callable
from pathlib import Path

from segkit.checking.alignment import judge
from segkit.checking.depth_maps import check_depth
from segkit.checking.examine import examine
from segkit.checking.findings import Finding, Place, finding, sort_findings
from segkit.checking.masks import check_alignment, check_classes, check_masks, decide, shares
from segkit.checking.pictures import check_copies, check_pictures
from segkit.checking.report import CheckReport, Evidence, look_back
from segkit.checking.survey import survey
from segkit.checking.volumes import check_volumes


def check(data: str | Path, *, progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Return everything that is wrong with a dataset, most severe first, whatever it is: nothing stops the check.

    Of each picture only a few small facts are kept, so that a dataset may be much larger than the memory.

    Args:
        data: the dataset's folder.
        progress: called with the number of pictures read and of all.

    Raises:
        DataError: there is no such folder.
    """
    seen = survey(data)
    facts = examine(seen, progress)
    found = [*seen.findings]
    places: dict[str, list[Place]] = {}
    for one in facts:
        for kind, place in one.faults:
            places.setdefault(kind, []).append(place)
    for kind, where in places.items():
        found += finding(kind, where)

    coding, said = decide(seen, facts)
    pixels = shares(seen, facts, coding) if coding is not None else None
    judgement = judge({one.name: one.agreement for one in facts if one.agreement is not None})
    found += [
        *said,
        *check_pictures(seen, facts),
        *check_copies(seen, facts),
        *check_masks(seen, facts, coding),
        *check_volumes(seen, [one.volume for one in facts if one.volume is not None]),
        *check_depth(seen, [one.depth for one in facts if one.depth is not None]),
        *(check_classes(seen, facts, coding, pixels) if coding is not None and pixels is not None else ()),
        *check_alignment(judgement),
    ]
    return CheckReport(
        data=str(data),
        findings=sort_findings(_joined(found)),
        looked_at=look_back(seen, facts, pixels),
        evidence=Evidence(seen, tuple(facts), coding, judgement),
    )


def _joined(found: list[Finding]) -> list[Finding]:
    """Findings of one kind as one."""
    places: dict[str, list[Place]] = {}
    for one in found:
        places.setdefault(one.kind, []).extend(one.places)
    return [Finding(kind, tuple(where)) for kind, where in places.items()]
