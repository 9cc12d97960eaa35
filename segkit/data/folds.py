"""A dataset's pictures in parts of like composition, for training without one part at a time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segkit.data.folder import DatasetFolder, Sample
from segkit.data.masks import IGNORE
from segkit.data.splits import hashed_groups
from segkit.errors import DataError


def draw_folds(folder: DatasetFolder, samples: Sequence[Sample], count: int) -> list[list[Sample]]:
    """Parts of the pictures, whole groups together, each class in about equally many pictures of each part.

    The rarest class's pictures are dealt out first, each to the part that lacks most of them (iterative
    stratification: Sechidis et al., ECML 2011), so that a class of few pictures isn't all in one part. The same
    pictures always give the same parts.

    Args:
        folder: the dataset; its groups stay together.
        samples: the pictures.
        count: of parts, 2 or more; where there are fewer groups, or pictures in no group, there are as many as those.

    Raises:
        DataError: all pictures are of one group.
    """
    by_name = {sample.name: sample for sample in samples}
    groups = {group: [stem for stem in stems if stem in by_name] for group, stems in folder.groups.items()}
    units = hashed_groups(by_name, {group: stems for group, stems in groups.items() if stems})
    if len(units) < 2:
        what = "there is one picture" if len(samples) == 1 else "all pictures are of one group"
        raise DataError(f"{folder.path}: {what}, so there are no folds; leave folds out")
    count = min(count, len(units))
    holds = np.array([np.sum([classes_in(folder, by_name[stem]) for stem in unit], axis=0) for unit in units])
    parts = deal(holds, np.array([len(unit) for unit in units]), count)
    folds: list[list[Sample]] = [[] for _ in range(count)]
    for unit, part in zip(units, parts, strict=True):
        folds[part] += [by_name[stem] for stem in unit]
    return folds


def classes_in(folder: DatasetFolder, sample: Sample) -> NDArray[np.int64]:
    """1 for each class that occurs in a picture's mask, else 0: [classes]."""
    ids = folder.read_mask(sample)
    if ids.ndim == 3:
        present: NDArray[np.bool_] = (ids == 1).any((1, 2))
    else:
        present = np.bincount(ids[ids != IGNORE], minlength=max(2, len(folder.classes))) > 0
    return present.astype(np.int64)


def deal(holds: NDArray[np.int64], sizes: NDArray[np.int64], count: int) -> list[int]:
    """The part of each unit.

    Args:
        holds: how many pictures of each unit hold each class, [units, classes].
        sizes: how many pictures each unit has, [units].
        count: of parts.
    """
    lacks = np.tile(holds.sum(0) / count, (count, 1))  # [parts, classes]
    room = np.full(count, sizes.sum() / count)
    part = np.full(len(holds), -1)
    while (part < 0).any():
        left = part < 0
        still = (holds[left] > 0).sum(0)  # units that hold each class
        if still.any():
            rarest = int(np.argmin(np.where(still > 0, still, np.iinfo(np.int64).max)))
            unit = int(np.flatnonzero(left)[np.argmax(holds[left, rarest])])
            wanting = lacks[:, rarest]
        else:
            unit = int(np.flatnonzero(left)[np.argmax(sizes[left])])
            wanting = room
        # np.lexsort puts the last key first; of equals the first part.
        chosen = int(np.lexsort((-room, -wanting))[0])
        part[unit] = chosen
        lacks[chosen] -= holds[unit]
        room[chosen] -= sizes[unit]
    return part.tolist()
