"""Which pictures are trained on, validated on and tested on, drawn where a dataset doesn't say."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}


def draw_splits(stems: Iterable[str], groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Split by the order of hashes, whole groups together; val and test get at least one where there are three."""
    order = hashed_groups(stems, groups)
    total = sum(map(len, order))
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for split in ("test", "val"):
        while len(order) > 2 - (split == "val") and len(splits[split]) < max(1, round(SHARES[split] * total)):
            splits[split] += order.pop()
    splits["train"] = [stem for members in order for stem in members]
    return {split: tuple(sorted(stems)) for split, stems in splits.items()}


def hashed_groups(stems: Iterable[str], groups: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the stems of each group, or each alone that is in none, in the order of a hash of the group's name."""
    group_of = {stem: group for group, members in groups.items() for stem in members}
    found: dict[str, list[str]] = {}
    for stem in sorted(stems):
        found.setdefault(group_of.get(stem, stem), []).append(stem)
    return [found[group] for group in sorted(found, key=lambda group: hashlib.sha256(group.encode()).digest())]


@dataclass(frozen=True)
class Overlap:
    """What two splits have in common."""

    first: str
    second: str
    stems: tuple[str, ...]
    groups: tuple[str, ...]


def overlaps(splits: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]]) -> Iterator[Overlap]:
    """What would let a score look better than it is: pictures or groups in two splits, for each two that share any."""
    group_of = {stem: group for group, stems in groups.items() for stem in stems}
    names = list(splits)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            stems = set(splits[first]) & set(splits[second])
            grouped = [{group_of[stem] for stem in splits[split] if stem in group_of} for split in (first, second)]
            if stems or grouped[0] & grouped[1]:
                yield Overlap(first, second, tuple(sorted(stems)), tuple(sorted(grouped[0] & grouped[1])))


def purpose(split: str) -> int:
    """Return 0 for training, 1 for validation, 2 for testing: what is in two splits is best kept in the higher."""
    return 0 if split.startswith("train") else 1 if split.startswith("val") else 2


def each_once(splits: Mapping[str, Sequence[str]], stems: Iterable[str]) -> dict[str, list[str]]:
    """Splits in which each of some stems is only in the one that is most for testing, or the first of such."""
    found = {split: list(its) for split, its in splits.items()}
    several, taken = set(stems), set[str]()
    for split in sorted(found, key=purpose, reverse=True):
        found[split] = [stem for stem in found[split] if stem not in taken]
        taken.update(several.intersection(found[split]))
    return found
