"""Series that show the same places several times, taken apart into volumes: echoes, moments, b-values."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from segkit.errors import DataError
from segkit.medical.dicom_frames import group_of
from segkit.medical.dicom_slices import Slice
from segkit.medical.dicom_tags import TELLING_APART

SAME = 0.01  # of a pixel's width: distances along the normal that are further apart are two places


@dataclass(frozen=True, eq=False)
class Part:
    """The slices of one volume.

    Attributes:
        slices: in no order, each at a place of its own.
        note: what sets it apart from the other volumes of its series, if there are any.
    """

    slices: tuple[Slice, ...]
    note: str | None = None


def parts_of(slices: Sequence[Slice]) -> list[Part]:
    """One volume, or several where places repeat, in rising order of the tags that tell them apart.

    Raises:
        DataError: places repeat and no tag tells why.
    """
    places = place_numbers(slices)
    times = max(Counter(places).values())
    if times == 1:
        return [Part(tuple(slices))]
    values = [[_value(each, keyword, groups) for each in slices] for keyword, groups in TELLING_APART]
    telling = [index for index, found in enumerate(values) if len(set(found)) > 1]
    for chosen in [*((index,) for index in telling), *combinations(telling, 2)]:
        keys = list(zip(*(values[index] for index in chosen), strict=True))
        if len(set(keys)) == times and len(set(zip(keys, places, strict=True))) == len(slices):
            return _apart(slices, keys, [TELLING_APART[index][0] for index in chosen])
    raise DataError(_untold(slices, places))


def _untold(slices: Sequence[Slice], places: Sequence[int]) -> str:
    """What to say of places that repeat for no reason: which are copies of a few, or how many volumes there may be."""
    counts = Counter(places)
    often = max(counts, key=counts.__getitem__)
    here, other, *_ = (each for each, place in zip(slices, places, strict=True) if place == often)
    shown = f"its series shows {len(counts):,} places with {len(slices):,} images"
    tags = "no tag (EchoTime, DiffusionBValue, AcquisitionNumber and others are looked at) tells them apart"
    if len(set(counts.values())) > 1:
        return (
            f"{other}: lies at the same place as {here.name}; {shown}, and {tags}: keep one image of each place, or "
            "give each volume's images a SeriesInstanceUID of their own"
        )
    return (
        f"{here.path}: {shown}, and {tags}: put the images of each volume into a folder of their own, under a "
        "SeriesInstanceUID of their own"
    )


def place_numbers(slices: Sequence[Slice]) -> list[int]:
    """Which place along the normal each located slice is at, the lowest being 0."""
    placed = [each.place for each in slices if each.place is not None]
    distances = [float(place.corner @ placed[0].normal) for place in placed]
    near = SAME * min(placed[0].spacing)
    order = sorted(range(len(distances)), key=distances.__getitem__)
    numbers = [0] * len(distances)
    for before, after in pairwise(order):
        numbers[after] = numbers[before] + (distances[after] - distances[before] > near)
    return numbers


def _apart(slices: Sequence[Slice], keys: Sequence[tuple[Hashable, ...]], keywords: Sequence[str]) -> list[Part]:
    parts = []
    for number, key in enumerate(sorted(set(keys), key=_rank), start=1):
        # Numbers alone are told: texts and times may say more than they should.
        pairs = zip(keywords, key, strict=True)
        told = [f"{keyword} {value:g}" for keyword, value in pairs if isinstance(value, float)]
        note = f"number {number} of {len(set(keys))} volumes in its series, which differ by {' and '.join(keywords)}"
        if told:
            note += f" (here {', '.join(told)})"
        chosen = [each for each, own in zip(slices, keys, strict=True) if own == key]
        parts.append(Part(tuple(chosen), note))
    return parts


def _rank(key: tuple[Hashable, ...]) -> tuple[tuple[int, float, str], ...]:
    """None before numbers before texts."""
    return tuple((1, each, "") if isinstance(each, float) else (2 * (each is not None), 0.0, str(each)) for each in key)


def _value(image: Slice, keyword: str, groups: tuple[str, ...]) -> Hashable:
    """What a tag says of an image: a number, a text, a tuple of texts, or None."""
    try:
        item: Any = image.header.tags
        for depth, group in enumerate(groups):
            if depth == 0:
                item = None if image.frame is None else group_of(item, image.frame + 1, group)
            else:
                item = item[group].value[0] if group in item else None
            if item is None:
                return None
        value = item.get(keyword)
        if value is None or value == "":
            return None
        if isinstance(value, int | float) or (not isinstance(value, str) and not isinstance(value, Sequence)):
            return float(value)
    except Exception:  # a damaged value tells nothing; pydicom raises what it likes
        return None
    return tuple(str(each) for each in value) if not isinstance(value, str) else str(value)
