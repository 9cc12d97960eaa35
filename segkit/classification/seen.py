"""What classifiers have seen of the images that they are scored on."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from segkit.classification.classifier import Classifier
from segkit.classification.ensemble import ClassifierEnsemble
from segkit.classification.joint import JointClassifier
from segkit.classification.prediction import LabelsImages
from segkit.evaluation.seen import chosen_splits, fitted_splits, trained_splits
from segkit.labelled.images import LabelledImages


def seen_before(model: LabelsImages, images: LabelledImages, split: str) -> list[str]:
    """What makes scores look better than they will be: the model, or a member, knows these images."""
    both = ClassifierEnsemble | JointClassifier
    members = zip(model.names, model.members, strict=True) if isinstance(model, both) else ()
    whole = list(_seen_by(model.about, images, split))
    notes = [f"the {note}" for note in whole]
    for name, member in members:
        of_member = _seen_by(cast("Classifier", member).about, images, split)
        notes += [f"member {name}'s {note}" for note in of_member if note not in whole]
    return notes


def _seen_by(about: Mapping[str, Any], images: LabelledImages, split: str) -> Iterator[str]:
    """The same of one model, by what is kept with it."""
    asked = set(split.split("+"))
    fitted = about.get("fitted_on", {})
    head = str(fitted.get("head trained on", "")).split("+") if fitted.get("dataset") == images.name else []
    if asked & {*trained_splits(about, images.name), *head}:
        yield f"model was trained on split {split!r} of {images.name}: these scores say little about new images"
    if asked & chosen_splits(about, images.name):
        yield f"weights were chosen by split {split!r} of {images.name}: these scores favour them"
    if asked & fitted_splits(about, images.name):
        yield f"ensemble was fitted on split {split!r} of {images.name}: these scores favour it"
