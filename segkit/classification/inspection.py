"""What each classifier is worth to an ensemble of them, and how far they agree."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from segkit.classification.classifier import Classifier
from segkit.classification.ensemble import ClassifierEnsemble
from segkit.classification.member_features import MemberFeatures, placed
from segkit.classification.member_fit import check_data
from segkit.classification.seen import seen_before
from segkit.combining.sums import Sums
from segkit.devices import default_device
from segkit.fitting.agreement import kappa
from segkit.fitting.inspection import Inspection, counts
from segkit.labelled.opening import open_labelled
from segkit.progress import Progress
from segkit.statistics import tempered


def inspect_classifiers(
    ensemble: ClassifierEnsemble,
    data: str | Path | None = None,
    split: str = "test",
    *,
    progress: Progress | None = None,
) -> Inspection:
    """Look into an ensemble: its weights and, on images, top-1 of each member and of the rest, and how far they agree.

    Args:
        ensemble: the ensemble.
        data: labelled images; without them nothing is counted.
        split: which of them.
        progress: called after each batch with the number of images done, that of all, and what is done.

    Raises:
        ModelError: the ensemble is of other classes than the data.
        DataError: an image that can't be used, or no such split.
    """
    names = ensemble.names
    weights = dict(zip(names, ensemble.combination.options()["weights"], strict=True))
    temperatures = dict(zip(names, ensemble.temperatures, strict=True)), ensemble.temperature
    inside = Inspection(names, ensemble.combination.name, weights, temperatures)
    if data is None:
        return inside
    images = open_labelled(data)
    members = [cast("Classifier", member) for member in ensemble.members]
    check_data("the ensemble", members[0], images)
    total, done = len(images.indices(*split.split("+"))), 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total, "features")

    device = default_device()
    features, target = MemberFeatures(members, images, device=device, progress=tell).of(split)
    with torch.no_grad(), placed(members, torch.device("cpu")):  # where the features are
        said = [
            tempered(member.head(each).softmax(1), temperature, "multiclass")[:, :, None, None]
            for member, each, temperature in zip(members, features, ensemble.temperatures, strict=True)
        ]
    labels = [each.flatten(1).argmax(1) for each in said]
    everyone = range(len(members))
    return Inspection(
        **vars(inside)
        | {
            "score": "top-1",
            "whole": _top1(ensemble, said, everyone, target),
            "alone": {name: _share(each, target) for name, each in zip(names, labels, strict=True)},
            "without": {
                name: _top1(ensemble, said, [i for i in everyone if i != left_out], target)
                for left_out, name in enumerate(names)
            },
            "agreement": [[_kappa(a, b, len(ensemble.classes)) for b in labels] for a in labels],
            "on": f"{split} of {images.name}",
            "note": "; ".join(seen_before(ensemble, images, split)) or None,
        }
    )


@torch.no_grad()
def _top1(ensemble: ClassifierEnsemble, said: Sequence[Tensor], members: Sequence[int], target: Tensor) -> float | None:
    """Top-1 of some of the members, combined as they are in the ensemble; None where none of them counts."""
    if not counts(ensemble.combination, members):
        return None
    sums = Sums(copy.deepcopy(ensemble.combination).cpu().eval())  # where the features are
    for member in members:
        sums.add(member, said[member], said[member])
    return _share(sums.probabilities().flatten(1).argmax(1), target)


def _share(labels: Tensor, target: Tensor) -> float:
    return float((labels == target).double().mean())


def _kappa(a: Tensor, b: Tensor, classes: int) -> float:
    pairs = np.bincount((a * classes + b).numpy(), minlength=classes**2)
    return kappa(pairs.reshape(classes, classes).astype(np.float64))
