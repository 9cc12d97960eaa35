"""What of a dataset's faults a copy can be freed from, and what each repair would lose."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.checking.alignment import TURNINGS, shift_in_words
from segkit.checking.examine import Facts
from segkit.checking.picture_facts import PictureFacts
from segkit.checking.report import CheckReport, Evidence
from segkit.data.masks import IGNORE
from segkit.data.splits import each_once, purpose

FEWER = "Training, or failing that validation, gets fewer pictures"
GUESS = "The edges say so, nothing else"
LOST = ("task", "splits", "groups", "background", "ignore_index", "roi")
"""Keys of dataset.yaml without which scores mean something else."""
SAME_SHAPE = 0.02  # relative difference of two aspect ratios that are meant to be the same


@dataclass(frozen=True)
class Repair:
    """One thing that can be mended.

    Attributes:
        kind: what is done, a key for ``mend``.
        what: the same as a sentence for the log.
        names: of the pictures or splits it is done to.
        question: what to ask before, because something is lost or guessed; None where nothing is.
    """

    kind: str
    what: str
    names: tuple[str, ...]
    question: str | None = None


def plan_repairs(report: CheckReport) -> list[Repair]:
    """Return what can be mended in a copy of a dataset; first what loses nothing, then what has to be asked."""
    return [repair for repair in (*_safe(report), *_asked(report)) if repair.names]


def _safe(report: CheckReport) -> list[Repair]:
    evidence = report.evidence
    facts, description = evidence.facts, evidence.seen.description
    foreground = evidence.coding is not None and evidence.coding.table[IGNORE] != IGNORE
    exif = [one.name for one in facts if one.picture is not None and _can_be_turned(one.picture)]
    odd = [one.name for one in facts if any((mask.wide or mask.alpha) and not mask.colour for mask in one.masks)]
    masks = _in_ids(facts)
    unused, lost = _unused(report)
    twice, which = _in_two_splits(report)
    return [
        Repair("description", "what is wrong in dataset.yaml is left out, or joined", *_left_out(report)),
        Repair("ids", "0 and 255 in masks become the class ids 0 and 1", masks if foreground else ()),
        Repair("ids", "colours in masks become class ids", masks if description.palette else ()),
        Repair("ids", "masks of 16 bits or with transparency become plain 8-bit masks", tuple(odd)),
        Repair("upright", "pictures are turned as their orientation tag says, and written as PNG", tuple(exif)),
        Repair("one_split", "names in two splits stay in the one for testing", twice, which),
        Repair("drop", "names without a picture, a mask or a region of interest leave the splits", unused, lost),
        Repair("omit", "pictures with a file that can't be used are left out", _unreadable(evidence, depth=False)),
        Repair("no_depth", "depth maps that can't be used are left out", _unreadable(evidence, depth=True)),
        Repair("draw", "splits are drawn by a hash of the names", _to_draw(report)),
    ]


def _left_out(report: CheckReport) -> tuple[tuple[str, ...], str | None]:
    """The faults of dataset.yaml, and what to ask where keys go that say what is for testing, or belongs together."""
    details = [place.detail for found in report.findings if found.kind == "description" for place in found.places]
    if report.evidence.seen.description.groups:  # those with a picture in common are joined
        details = [detail for detail in details if not detail.startswith("groups")]
    keys = sorted(set(map(_key_meant, details)) & set(LOST))
    return _places(report, "description"), f"{' and '.join(keys)} would be drawn or guessed anew" if keys else None


def _key_meant(fault: str) -> str:
    """The key of dataset.yaml that a fault is about: the one it begins with, or the one that a misspelt one was for."""
    misspelt = re.match(r"no key .*; did you mean '(\w+)'", fault)
    return misspelt[1] if misspelt else fault.partition(":")[0].partition(".")[0].partition("[")[0]


def _to_draw(report: CheckReport) -> tuple[str, ...]:
    """Empty splits, and usual ones that aren't there; none where others are given and nothing to draw from is."""
    splits = report.evidence.seen.splits
    if not splits.get("train") and any(splits.values()):
        return ()
    return _places(report, "empty_split", "no_split")


def _unused(report: CheckReport) -> tuple[tuple[str, ...], str | None]:
    """Names in splits that nothing can be made of, and what to ask where nothing else is in a split."""
    unused = _places(report, "no_picture", "no_mask", "no_roi")
    emptied = [split for split, stems in report.evidence.seen.splits.items() if stems and set(stems) <= set(unused)]
    return unused, f"Nothing is left of {' and '.join(emptied)}" if emptied else None


def _in_two_splits(report: CheckReport) -> tuple[tuple[str, ...], str | None]:
    """Names in two splits, and what to ask where those don't say which is for testing, or one would be left empty."""
    splits, stems = report.evidence.seen.splits, _places(report, "two_splits")
    kept = each_once(splits, stems)
    emptied = [split for split in splits if splits[split] and not kept[split]]
    if emptied:
        return stems, f"Nothing is left of {' and '.join(emptied)}"
    pairs = {place.detail for found in report.findings if found.kind == "two_splits" for place in found.places}
    alike = [pair for pair in sorted(pairs) if len({purpose(split) for split in pair.split(" and ")}) == 1]
    return stems, f"Which of {alike[0]} is for testing isn't known" if alike else None


def _asked(report: CheckReport) -> list[Repair]:
    evidence = report.evidence
    blurred = _stems(report, "lossy", "interpolated")
    unknown = _stems(report, "unknown_ids")
    mixed = _stems(report, "mixed_coding")
    copies = _places(report, "same_picture", "near_copy")
    turned = {**_turned_sizes(evidence), **{n: t for n, t in evidence.judgement.misfits.items() if t is not None}}
    repairs = [
        Repair("nearest", "values between classes become the nearest class", blurred, "Borders are guessed"),
        Repair("ignore", "pixels with values that are no class are ignored", unknown, "Those pixels are lost"),
        Repair("foreground", "255 is read as foreground", mixed, "It could have meant ignore"),
        Repair("drop", "copies of pictures in another split leave training", copies, FEWER),
        Repair("drop", "pictures of groups in two splits leave training", _less_needed(report), FEWER),
    ]
    for turning in dict.fromkeys(turned.values()):
        names = tuple(name for name, one in turned.items() if one == turning)
        repairs.append(Repair(f"turn {turning}", f"masks are {turning}", names, GUESS))
    everything = _in_ids(evidence.facts)
    if (judged := evidence.judgement).turning is not None:
        others = tuple(name for name in everything if name not in turned)  # a mask is turned once
        what = f"all {'other ' if turned else ''}masks are {judged.turning}"
        repairs.append(Repair(f"turn {judged.turning}", what, others, GUESS))
    if judged.shift is not None:
        what = f"all masks are {shift_in_words(judged.shift)}"
        repairs.append(Repair("move", what, everything, "What comes in at the border is ignored"))
    resized, strange = _other_sizes(evidence, set(turned))
    depth = evidence.seen.depth_places
    unfit = tuple(depth[place] for place in _places(report, "depth_size", "depth_channels"))
    doubled = {place.partition("/")[2] for place in _places(report, "same_name") if place.startswith("depth/")}
    second = tuple(sorted({Path(name).stem for name in doubled} & set(depth.values())))
    return [
        *repairs,
        Repair("resize", "masks of another size are resized to their picture's", resized, "Borders are guessed"),
        Repair("drop", "pictures whose mask has another shape leave the splits", strange, "They are lost"),
        Repair(
            "no_depth", "depth maps that don't fit their picture, or the others, are left out", unfit, "They are lost"
        ),
        Repair("one_depth", "second depth files of a picture are left out", second, "Which is right isn't known"),
    ]


def _in_ids(facts: Sequence[Facts]) -> tuple[str, ...]:
    """Pictures with a mask that isn't in colours of which no palette tells; such masks stay as they are."""
    return tuple(one.name for one in facts if any(not mask.colour for mask in one.masks))


def _can_be_turned(picture: PictureFacts) -> bool:
    """Whether a picture has a tag that turns it and can be written as PNG without loss."""
    return picture.orientation != 1 and picture.dtype != "float32" and picture.channels in (1, 3)


def _places(report: CheckReport, *kinds: str) -> tuple[str, ...]:
    names = (place.name for found in report.findings if found.kind in kinds for place in found.places)
    return tuple(dict.fromkeys(names))


def _less_needed(report: CheckReport) -> tuple[str, ...]:
    """The pictures of groups in two splits, but for those in the split that is most for testing."""
    seen = report.evidence.seen
    found = []
    for group in _places(report, "group"):
        members = seen.description.groups[group]
        holders = [split for split, stems in seen.splits.items() if not set(members).isdisjoint(stems)]
        kept = seen.splits[max(holders, key=purpose)]
        found += [stem for stem in members if stem not in kept]
    return tuple(found)


def _stems(report: CheckReport, *kinds: str) -> tuple[str, ...]:
    """Pictures' names from their masks' places."""
    files = set(_places(report, *kinds))
    seen = report.evidence.seen
    return tuple(
        one.name for one in report.evidence.facts if any(seen.place(mask.file).name in files for mask in one.masks)
    )


def _unreadable(evidence: Evidence, *, depth: bool) -> tuple[str, ...]:
    """Pictures with a file that can't be read: a depth map, or any other, without which they are of no use."""
    maps = evidence.seen.depth_places
    return tuple(
        one.name
        for one in evidence.facts
        if any(kind == "unreadable" and (place.name in maps) is depth for kind, place in one.faults)
    )


def _turned_sizes(evidence: Evidence) -> dict[str, str]:
    """Masks of their picture's size turned, with what makes them fit best."""
    return {
        one.name: turning
        for one in evidence.facts
        if one.agreement is not None
        and any(not mask.fits for mask in one.masks)
        and (turning := one.agreement.best_turning) in TURNINGS
    }


def _other_sizes(evidence: Evidence, turned: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Pictures whose masks have the same shape in another size, and those whose masks have another shape."""
    same: list[str] = []
    other: list[str] = []
    for one in evidence.facts:
        if one.picture is None or one.name in turned or all(mask.fits or mask.colour for mask in one.masks):
            continue
        height, width = one.picture.size
        ratios = [mask.size[0] * width / (mask.size[1] * height) for mask in one.masks]
        (same if all(abs(ratio - 1) < SAME_SHAPE for ratio in ratios) else other).append(one.name)
    return tuple(same), tuple(other)
