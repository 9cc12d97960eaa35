"""Class ids from blended probabilities: the one rule that training, prediction and evaluation share."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from segkit.statistics import tempered
from segkit.task import Task

LARGEST = 700.0  # exponent of e that is not infinite


def at_temperature(probabilities: NDArray[np.float32], temperature: float, task: Task) -> NDArray[np.float32]:
    """Blended probability maps [K, H, W] at an ensemble's temperature, see :func:`segkit.statistics.tempered`."""
    if temperature == 1:
        return probabilities
    found: NDArray[np.float32] = tempered(torch.from_numpy(probabilities)[None], temperature, task)[0].numpy()
    return found


def threshold_at(threshold: float, temperature: float) -> float:
    """The threshold of probabilities at a temperature that gives the labels which this one gives without it.

    Where p ≥ t without it, sigmoid(logit(p) / T) ≥ sigmoid(logit(t) / T) with it. The way back is by 1 / T.
    """
    if temperature == 1 or not 0 < threshold < 1:
        return threshold
    return 1 / (1 + math.exp(min(-math.log(threshold / (1 - threshold)) / temperature, LARGEST)))


def labels_of(
    probabilities: NDArray[np.float32], task: Task, threshold: float | NDArray[np.float32] = 0.5
) -> NDArray[np.uint8]:
    """Labels of probability maps [K, H, W].

    multiclass: the most probable class, the first of equals, uint8 [H, W]; binary: 1 where the probability reaches
    the threshold, uint8 [H, W]; multilabel: the same for each map, by one threshold or by thresholds [K, 1, 1], uint8
    [K, H, W].
    """
    found: NDArray[np.uint8]
    if task == "multiclass":
        found = probabilities.argmax(0).astype(np.uint8)
        return found
    found = (probabilities >= threshold).astype(np.uint8)
    return found[0] if task == "binary" else found


def labels_at(
    probabilities: NDArray[np.float32],
    temperature: float,
    task: Task,
    threshold: float | NDArray[np.float32] = 0.5,
) -> NDArray[np.uint8]:
    """:func:`labels_of` the maps [K, H, W] at an ensemble's temperature, by a threshold of probabilities at it.

    The maps before it are looked at, by the threshold moved back: float32 rounds what was apart to the same at low
    temperatures, and a temperature changes no label. A threshold of 0 or 1 can't be moved; it is of the maps at it.
    """
    if temperature != 1 and task != "multiclass":
        given = [float(each) for each in np.ravel(threshold)]
        if not all(0 < each < 1 for each in given):
            return labels_of(at_temperature(probabilities, temperature, task), task, threshold)
        back = [threshold_at(each, 1 / temperature) for each in given]
        threshold = np.array(back, np.float32).reshape(np.shape(threshold))
    return labels_of(probabilities, task, threshold)
