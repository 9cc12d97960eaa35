"""What is wrong with the pictures of a dataset, and which of them are the same."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from segkit.checking.copies import near_copies
from segkit.checking.examine import Facts
from segkit.checking.findings import Finding, Place, finding
from segkit.checking.picture_facts import PictureFacts
from segkit.checking.survey import Survey
from segkit.data.splits import purpose

TWELVE_BITS = 4095


def check_pictures(seen: Survey, facts: Sequence[Facts]) -> list[Finding]:
    """Return what is odd about the pictures themselves."""
    read = [(seen.samples[one.name].image, one.picture) for one in facts if one.picture is not None]
    constant = [seen.place(file, f"all {p.low:g}") for file, p in read if p.low == p.high]
    floats = [
        seen.place(file, f"{p.low:g} to {p.high:g}")
        for file, p in read
        if p.dtype == "float32" and not 0 <= p.low <= p.high <= 1
    ]
    narrow = [
        seen.place(file, f"up to {p.high:g}") for file, p in read if p.dtype == "uint16" and 0 < p.high <= TWELVE_BITS
    ]
    turned = [seen.place(file) for file, p in read if p.orientation != 1]
    return [
        *finding("constant", constant),
        *finding("range", floats),
        *finding("narrow_range", narrow),
        *finding("exif", turned),
        *_kinds(facts),
    ]


def _kinds(facts: Sequence[Facts]) -> list[Finding]:
    """Types and numbers of channels, where they differ."""
    read = [one for one in facts if one.picture is not None]

    def places(values: Counter[str]) -> list[Place]:
        example = {value: one.name for one in reversed(read) for value in (_depth(one), _channels(one))}
        return [Place(value, f"{count}, for example {example[value]}") for value, count in values.most_common()]

    depths, channels = Counter(map(_depth, read)), Counter(map(_channels, read))
    found = []
    if len(depths) > 1:
        found += finding("bit_depth", places(depths))
    if set(channels) == {GREY, COLOUR}:
        found += finding("grey_and_colour", places(channels))
    elif len(channels) > 1:
        found += finding("channels", places(channels))
    return found


GREY, COLOUR = "1 channel", "3 channels"


def _depth(one: Facts) -> str:
    return one.picture.dtype if one.picture else ""


def _channels(one: Facts) -> str:
    count = one.picture.channels if one.picture else 0
    return GREY if count == 1 else f"{count} channels"


def check_copies(seen: Survey, facts: Sequence[Facts]) -> list[Finding]:
    """Return the pictures that are in several splits, or twice in one, exactly or nearly.

    Of two, the one told is that which should go: training's before validation's before a test's.
    """
    split_of = {stem: split for split in sorted(seen.splits, key=purpose) for stem in seen.splits[split]}
    read: list[tuple[str, PictureFacts]] = [
        (one.name, one.picture)
        for one in facts
        if one.picture is not None and one.name in split_of and one.picture.low < one.picture.high
    ]
    read.sort(key=lambda pair: purpose(split_of[pair[0]]))

    same: dict[bytes, list[str]] = defaultdict(list)
    for name, picture in read:
        same[picture.digest].append(name)
    elsewhere, again = [], []
    for names in same.values():
        for name in names[:-1]:
            other = names[-1]
            if split_of[name] != split_of[other]:
                elsewhere.append(Place(name, f"in {split_of[name]}; {other} in {split_of[other]}"))
            else:
                again.append(Place(name, f"as {other}"))

    near: dict[str, tuple[float, Place]] = {}  # of each picture, that which is most like it
    if read:
        looks = np.stack([picture.look for _, picture in read]).astype(np.float32)
        order = list(dict.fromkeys(split_of[name] for name, _ in read))
        for pair in near_copies(looks, [order.index(split_of[name]) for name, _ in read]):
            (name, first), (other, second) = read[pair.first], read[pair.second]
            if first.digest != second.digest and (name not in near or near[name][0] < pair.correlation):
                place = Place(name, f"in {split_of[name]}; {other} in {split_of[other]}")
                near[name] = pair.correlation, place
    exact = {place.name for place in elsewhere}
    most_alike = sorted(near, key=lambda name: -near[name][0])
    return [
        *finding("same_picture", elsewhere),
        *finding("near_copy", [near[name][1] for name in most_alike if name not in exact]),
        *finding("again", again),
    ]
