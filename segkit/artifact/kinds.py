"""Which kinds of models can be saved: for each the class of the model and the class that describes it.

A kind is added here, by one line, and one subclass of ``Description`` beside its model. Both are named and not
imported, so that a segmenter is loaded without what other kinds need.
"""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from segkit.artifact.description import Description
from segkit.errors import ModelError, UsageError


class Kind(NamedTuple):
    """One kind of model: the places, ``module:Class``, of the model and of its description."""

    model: str
    description: str

    def describes(self) -> type[Description]:
        """The class that writes and rebuilds models of this kind."""
        module, _, name = self.description.partition(":")
        found: type[Description] = getattr(import_module(module), name)
        return found


KINDS: dict[str, Kind] = {
    "segmenter": Kind("segkit.model:Segmenter", "segkit.artifact.segmentation:Segmentation"),
    "ensemble": Kind("segkit.ensemble:Ensemble", "segkit.artifact.segmentation:Segmentation"),
    "classifier": Kind("segkit.classification.classifier:Classifier", "segkit.classification.saved:SavedClassifier"),
    "classifier_ensemble": Kind(
        "segkit.classification.ensemble:ClassifierEnsemble",
        "segkit.classification.saved_together:SavedClassifierEnsemble",
    ),
    "joint_classifier": Kind(
        "segkit.classification.joint:JointClassifier", "segkit.classification.saved_together:SavedJointClassifier"
    ),
    "image_text": Kind("segkit.contrasting.image_text:ImageText", "segkit.contrasting.saved:SavedImageText"),
}


def kind_of(model: object) -> str | None:
    """What ``segkit.json`` calls models of this one's class; None where it is of none of the kinds."""
    places = {f"{each.__module__}:{each.__qualname__}" for each in type(model).__mro__}
    return next((name for name, kind in KINDS.items() if kind.model in places), None)


def kind_to_save(model: object) -> str:
    """The same; UsageError where it is of none of the kinds."""
    kind = kind_of(model)
    if kind is None:
        known = ", ".join(each.model.partition(":")[2] for each in KINDS.values())
        raise UsageError(f"can't save {type(model).__name__}; expected one of {known}")
    return kind


def check_draws_masks(model: object) -> None:
    """Raise ModelError where a model is of a kind that draws no masks, UsageError where it is none; a path may be."""
    kind = kind_of(model)
    asked = ("task", "classes", "reader", "statistics")
    if kind is None and not isinstance(model, str | Path) and not all(hasattr(model, name) for name in asked):
        raise UsageError(
            f"{type(model).__name__}: expected a model of segkit, or where one is saved; segkit.Adapter makes one of "
            "other modules, functions and .onnx files"
        )
    if kind is not None and not (described := KINDS[kind].describes()).draws_masks:
        raise ModelError(no_masks(described))


def no_masks(described: type[Description]) -> str:
    """Why models of this kind are refused where masks are needed, and what takes them."""
    return f"{described.what}, and masks are needed here; {described.takers}"
