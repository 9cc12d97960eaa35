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
from segkit.postprocessing.targets import Spacing, check, deviations, fewest_pixels, foreground, most_pixels
from segkit.task import Task

Of = TypeVar("Of")


def postprocess(
    probabilities: Maps,
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
    of these rows a few numbers are held; the result is that of the whole. Neither input is changed.

    Args:
        probabilities: float32 [K, H, W] or [K, I, J, L], K = 1 for binary; a memory map or an array.
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
    several = task == "multilabel"
    keep = keep or partial(in_memory, axis=int(several))
    known, axes = foreground(task, classes, background), probabilities.ndim - 1
    shape = probabilities.shape if several else probabilities.shape[1:]
    beneath = background if task == "multiclass" and background is not None else 0

    def by_class(values: Mapping[str, Of]) -> dict[str, Of]:
        found = {name: of_class(values, name) for name in known}
        return {name: value for name, value in found.items() if value is not None}

    def by_label(values: Mapping[str, Of], stage: Callable[[Ids, dict[int, Of], int], Iterator[Ids]]) -> Ids:
        """The rows of a stage; for multilabel each map goes through it by itself, side by side."""
        if not several:
            of_label = {known[name] if task == "multiclass" else 1: value for name, value in values.items()}
            return keep(stage(labels, of_label, beneath), shape)
        of_map = {known[name]: value for name, value in values.items()}
        maps = [stage(labels[k], {1: of_map[k]} if k in of_map else {}, 0) for k in range(len(labels))]
        return keep((np.stack(rows) for rows in zip(*maps, strict=True)), shape)

    if settings.relabels:
        rows = relabelled(
            probabilities,
            deviations(settings.smoothing, spacing, axes) if settings.smoothing else None,
            {known[name]: value for name, value in by_class(settings.thresholds).items()},
            task=task,
            background=background,
            threshold=threshold,
        )
        labels = keep(rows, shape)
    largest = by_class(dict.fromkeys(settings.largest, True))
    fewest = {name: fewest_pixels(size, spacing, axes) for name, size in by_class(settings.smallest).items()}
    if largest or fewest:
        rules = {name: Rule(name in largest, fewest.get(name, 1)) for name in {**largest, **fewest}}
        labels = by_label(rules, without_parts)
    if settings.holes:
        most = {
            name: None if size == WHOLE else most_pixels(size, spacing, axes)
            for name, size in by_class(settings.holes).items()
        }
        labels = by_label(most, without_holes)
    return labels
