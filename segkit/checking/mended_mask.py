"""A mask as it should have been: class ids, as its picture lies."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.checking.alignment import TURNINGS
from segkit.checking.report import Evidence
from segkit.checking.survey import LOSSY
from segkit.data.description import Colour
from segkit.data.folder import Sample
from segkit.data.mask_on_picture import fit
from segkit.data.masks import IGNORE, NO_CLASS, Ids, ids_of_colours, in_colour, read_stored, whole_values
from segkit.data.reader import Pixels, read_pixels
from segkit.errors import DataError


def mended_mask(
    evidence: Evidence, sample: Sample, file: Path, repairs: Collection[str], size: tuple[int, int]
) -> Ids | None:
    """Return class ids uint8 [H, W], 255 = ignore, of a mask after some repairs; None where it can't be made whole.

    Args:
        evidence: of the dataset's check.
        sample: the picture.
        file: its mask, or that of one class.
        repairs: kinds of the repairs to make.
        size: the picture's (height, width).
    """
    palette = evidence.seen.description.palette
    stored = read_pixels(file, upright=False) if palette else read_stored(file)
    ids = _ids(evidence, file, stored, repairs)
    if ids is None:
        return None
    if ids.shape != size:
        with suppress(DataError):
            ids = fit(ids, size, file, sample.image)
    for repair in repairs:  # which was judged of masks that lie as their pictures do
        if repair.startswith("turn "):
            ids = np.ascontiguousarray(TURNINGS[repair.removeprefix("turn ")](ids), dtype=np.uint8)
    if ids.shape != size and "resize" in repairs:
        ids = np.asarray(cv2.resize(ids, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)
    if "move" in repairs and evidence.judgement.shift is not None:
        ids = moved(ids, evidence.judgement.shift)
    return ids


def moved(ids: Ids, shift: tuple[int, int]) -> Ids:
    """Return a mask [H, W] moved by (down, right); what comes in at the border is ignored."""
    result = np.full_like(ids, IGNORE)
    target, source = [], []
    for step, side in zip(shift, ids.shape, strict=True):
        target.append(slice(max(step, 0), side + min(step, 0)))
        source.append(slice(max(-step, 0), side - max(step, 0)))
    result[tuple(target)] = ids[tuple(source)]
    return result


def _ids(evidence: Evidence, file: Path, stored: Pixels, repairs: Collection[str]) -> Ids | None:
    assert evidence.coding is not None  # otherwise nothing is mended
    table = evidence.coding.table.copy()
    palette, classes = evidence.seen.description.palette, evidence.coding.classes
    if palette:
        ids, strange = ids_of_colours(stored, palette, classes, file)
        if strange.size and "nearest" in repairs:
            where = ids == NO_CLASS
            codes = np.broadcast_to(stored, (*ids.shape, 3))[where].astype(np.uint32) @ (1 << 16, 1 << 8, 1)
            ids[where] = _nearest_colours(strange, palette, classes)[np.searchsorted(strange, codes)]
        return _whole(ids, repairs)
    if in_colour(stored) and file.suffix.lower() not in LOSSY:
        return None  # one channel of it would be a guess
    values = whole_values(stored, file)
    ignored = evidence.seen.description.ignore_index
    if "foreground" in repairs and set(np.unique(values).tolist()) <= {0, IGNORE, ignored}:
        table[IGNORE] = 1
    lossy = file.suffix.lower() in LOSSY
    if "nearest" in repairs and (lossy or values.max(initial=0) <= IGNORE):
        meant = [value for value in range(256) if table[value] not in (NO_CLASS, IGNORE)]
        between = bool(((values > 31) & (values < 224)).any())
        unsaid = evidence.seen.description.ignore_index != IGNORE
        if meant == [0, 1] and unsaid and values.max(initial=0) > IGNORE // 2 and (lossy or between):
            # It was of 0 and 255 before it was blurred.
            table, meant = np.repeat(np.array([0, 1], dtype=np.uint8), 128), [0, IGNORE]
        if lossy or IGNORE not in values or IGNORE in meant:
            table = _nearest(table, meant)
        else:  # 255 is there to be ignored, so it is not the neighbour of a class
            table[:IGNORE] = _nearest(table, meant)[:IGNORE]
    wide = values > IGNORE
    ids = np.where(wide, np.uint8(NO_CLASS), table[np.where(wide, 0, values)])
    return _whole(ids, repairs)


def _nearest_colours(strange: NDArray[np.uint32], palette: Mapping[str, Colour], classes: tuple[str, ...]) -> Ids:
    """The class whose colour is nearest to each of some colours 0xRRGGBB."""
    names = [name for name in palette if name != "ignore"]
    colours = np.array([palette[name] for name in names], dtype=np.int32)
    parts = np.stack([strange >> 16, (strange >> 8) & 255, strange & 255], axis=1).astype(np.int32)
    distance = ((parts[:, None] - colours) ** 2).sum(axis=2)
    nearest: Ids = np.array([classes.index(name) for name in names], dtype=np.uint8)[distance.argmin(axis=1)]
    return nearest


def _nearest(table: Ids, meant: list[int]) -> Ids:
    """The table in which every value means what the nearest value of a class means."""
    values = np.arange(256)
    nearest: Ids = table[np.array(meant)[np.abs(values[:, None] - meant).argmin(axis=1)]]
    return nearest


def _whole(ids: Ids, repairs: Collection[str]) -> Ids | None:
    """The mask without values of no class, which are ignored if that is among the repairs; otherwise None."""
    strange = ids == NO_CLASS
    if not strange.any():
        return ids
    return np.where(strange, np.uint8(IGNORE), ids) if "ignore" in repairs else None
