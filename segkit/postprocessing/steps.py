"""Predicted masks after all steps, of pictures and of volumes, in memory or by rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from segkit.postprocessing.holes import without_holes
from segkit.postprocessing.labelling import Maps, Threshold, relabelled
from segkit.postprocessing.parts import Rule, without_parts
from segkit.postprocessing.settings import WHOLE, Postprocessing, of_class
from segkit.postprocessing.strips import Ids, Keep, in_memory
from segkit.postprocessing.targets import Scale, Spacing, check, foreground, slice_axis
from segkit.task import Task

Value = TypeVar("Value")


def postprocess(
    probabilities: Maps | None,
    labels: Ids,
    *,
    settings: Postprocessing,
    task: Task,
    classes: Sequence[str],
    background: int | None,
    spacing: Spacing | None = None,
    threshold: Threshold = 0.5,
    keep: Keep | None = None,
) -> Ids:
    """Labels after the steps of ``settings``, in their order; ``labels`` themselves where there are none.

    However large the image, some rows are worked on at a time (of a volume some planes), and of each connected piece
    of these rows a few numbers are held; the result is that of the whole. Neither input is changed. A volume of a
    single slice is taken as a picture.

    Args:
        probabilities: float32 [K, H, W] or [K, I, J, L], K = 1 for binary; an array or a memory map. None will do
            where no step makes labels anew.
        labels: made of them, uint8 [H, W] or [I, J, L], for multilabel with K in front; likewise.
        settings: the steps.
        task: binary, multilabel or multiclass.
        classes: names by label; the last is the foreground of a binary task.
        background: the label that is background; of no meaning for binary.
        spacing: distance of neighbouring pixels along each axis, mm; None where it isn't known.
        threshold: probability from which a pixel is foreground, binary and multilabel, where its class has none in the
            settings: one, or one a map, [K, 1, 1]. Used where labels are made anew, by smoothing or thresholds.
        keep: puts the rows of a step together, by default in memory.

    Raises:
        RecipeError: a class that isn't there, a size in another unit than the image has, a multiclass task without
            background.
    """
    check(settings, task, classes, background)
    if not settings.steps:
        return labels
    known, several = foreground(task, classes, background), task == "multilabel"
    scale = Scale(labels.shape[several:], spacing)
    deviations = scale.deviations(settings.smoothing) if settings.smoothing else None
    largest = dict.fromkeys(settings.largest, True)
    rules = {
        k: Rule(bool(of_class(largest, name)), 1 if size is None else scale.fewest_pixels(size))
        for name, k in known.items()
        if (size := of_class(settings.smallest, name)) is not None or of_class(largest, name)
    }
    holes = {k: None if size == WHOLE else scale.most_pixels(size) for k, size in _given(settings.holes, known)}

    shape, alone = labels.shape, slice_axis(scale.shape)
    if alone is not None:
        probabilities = None if probabilities is None else probabilities.squeeze(alone - 3)
        labels = labels.squeeze(alone - 3)
        deviations = deviations and [*deviations[:alone], *deviations[alone + 1 :]]
    keep = keep or partial(in_memory, axis=int(several))
    if settings.relabels:
        assert probabilities is not None
        rows = relabelled(
            probabilities,
            deviations,
            dict(_given(settings.thresholds, known)),
            task=task,
            background=background,
            threshold=threshold,
        )
        labels = keep(rows, labels.shape)
    if rules:
        labels = keep(_staged(without_parts, labels, rules, task, background), labels.shape)
    if holes:
        labels = keep(_staged(without_holes, labels, holes, task, background), labels.shape)
    return labels.reshape(shape)


def _given(values: Mapping[str, Value], known: Mapping[str, int]) -> Iterator[tuple[int, Value]]:
    """Maps, or labels, of the classes that a step is for, each with its value."""
    for name, k in known.items():
        value = of_class(values, name)
        if value is not None:
            yield k, value


def _staged(
    stage: Callable[[Ids, Mapping[int, Value], int], Iterator[Ids]],
    labels: Ids,
    wanted: Mapping[int, Value],
    task: Task,
    background: int | None,
) -> Iterator[Ids]:
    """Rows of labels after a stage; those of several maps go through it side by side, each by itself."""
    if task == "multiclass":
        assert background is not None
        return stage(labels, wanted, background)
    if task == "binary":
        return stage(labels, {1: wanted[0]}, 0)
    maps = [stage(labels[k], {1: wanted[k]} if k in wanted else {}, 0) for k in range(len(labels))]
    return (np.stack(rows) for rows in zip(*maps, strict=True))
