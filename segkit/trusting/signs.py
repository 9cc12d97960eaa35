"""What a prediction says of its own quality, before anyone knows the truth."""

import numpy as np
from numpy.typing import NDArray

from segkit.statistics import maximum_entropy
from segkit.task import Task

VALUES = 1 << 22  # of probabilities looked at at a time: maps may be files

SIGNS = (
    "expected_dice",
    "least_expected_dice",
    "entropy",
    "entropy_inside",
    "disagreement",
    "disagreement_inside",
    "foreground",
    "anything",
)
"""Names of what :func:`signs_of` gives, in order."""


def signs_of(
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    entropy: NDArray[np.float32],
    disagreement: NDArray[np.float32] | None,
    *,
    task: Task,
    background: int | None,
) -> NDArray[np.float64]:
    """Signs of quality of one image, one number for each of ``SIGNS``; none depends on the image's size.

    The first is the Dice that follows if probabilities are right, 2 Σ p over the label's pixels / (Σ p + its pixels),
    the mean over the classes found; the next the smallest of them. Then entropy and disagreement as shares of the
    largest possible, over all pixels and over those that are foreground, the root of the foreground's share, and
    whether there is any.

    Args:
        labels: ids [H, W], or 0/1 maps [K, H, W] for multilabel.
        probabilities: [K, H, W].
        entropy, disagreement: nats [H, W]; disagreement is None for a model that has none.
        task: binary, multilabel or multiclass.
        background: the label that is background, if any; without meaning for a binary task's one map.
    """
    maps, height, width = probabilities.shape
    kept = [k for k in range(maps) if maps == 1 or k != background]
    together = max(1, VALUES // (maps * width))
    mass, found, both = (np.zeros(len(kept)) for _ in range(3))
    nats, inside = np.zeros(2), np.zeros(3)  # entropy and disagreement; the same inside, and its pixels
    for top in range(0, height, together):
        rows = slice(top, top + together)
        p = np.asarray(probabilities[kept, rows], np.float64)
        ids = np.asarray(labels[..., rows, :])
        here = (
            ids[None] == np.reshape(kept, (-1, 1, 1))
            if task == "multiclass"
            else ids.reshape(maps, -1, width)[kept] == 1
        )
        mass += p.sum((1, 2))
        found += here.sum((1, 2))
        both += (p * here).sum((1, 2))
        anywhere = here.any(0)
        for i, map_ in enumerate((entropy, disagreement)):
            if map_ is not None:
                values = np.asarray(map_[rows], np.float64)
                nats[i] += values.sum()
                inside[i] += values[anywhere].sum()
        inside[2] += anywhere.sum()
    dice = 2 * both / np.maximum(mass + found, 1e-12)
    of_found = dice[found > 0]
    largest, pixels = maximum_entropy(task, maps), height * width
    return np.array(
        [
            of_found.mean() if of_found.size else 0.0,
            of_found.min() if of_found.size else 0.0,
            *(nats[[0]] / pixels / largest),
            inside[0] / max(inside[2], 1) / largest,
            nats[1] / pixels / largest,
            inside[1] / max(inside[2], 1) / largest,
            (inside[2] / pixels) ** 0.5,
            float(inside[2] > 0),
        ]
    )
