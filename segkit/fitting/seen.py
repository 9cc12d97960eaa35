"""Whether pictures to fit on were trained on."""

from collections.abc import Mapping
from typing import Any, cast

from segkit.artifact import AnyModel
from segkit.ensemble import Ensemble
from segkit.errors import UsageError
from segkit.model import Segmenter


def check_unseen(name: str, about: Mapping[str, Any], dataset: str, split: str) -> None:
    """Raise UsageError where a model, by what is kept with it, was trained on the split, or on one of several."""
    trained = about.get("trained_on", {})
    seen = str(trained.get("splits", "")).split(", ") if trained.get("dataset") == dataset else []
    for each in split.split("+"):
        if each in seen:
            raise UsageError(
                f"{name} was trained on split {each!r} of {dataset}: what is fitted there favours whoever learnt "
                "it by heart; name a split that no model has seen"
            )


def looked_at(known: Mapping[str, Mapping[str, Any]], dataset: str, split: str) -> list[str]:
    """What is to be said where weights were chosen, or something was fitted, on the split that is to be fitted on.

    Args:
        known: what is kept with each model, by name.
        dataset, split: what is to be fitted on.
    """
    asked = set(split.split("+"))
    notes = []
    for name, about in known.items():
        trained, fitted = about.get("trained_on", {}), about.get("fitted_on", {})
        chosen = [split for split in str(trained.get("chosen_on", "")).split(", ") if split in asked]
        if trained.get("dataset") == dataset and chosen:
            notes.append(
                f"{name}: its weights were chosen by their score on {chosen[0]!r}, where it now looks a "
                "little better than it is; with train.keep=last, or on another split, it doesn't"
            )
        if fitted.get("dataset") == dataset and set(str(fitted.get("split")).split("+")) & asked:
            notes.append(
                f"{name} itself was fitted on split {split!r}, where it now looks a little better than it is: take "
                "another split where there is one"
            )
    return notes


def kept_with(model: AnyModel) -> dict[str, Mapping[str, Any]]:
    """What is kept with the model, and with each of its members."""
    members = zip(model.names, model.members, strict=True) if isinstance(model, Ensemble) else ()
    return {"the model": model.about, **{name: cast("Segmenter", member).about for name, member in members}}
