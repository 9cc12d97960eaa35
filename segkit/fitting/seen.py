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


def kept_with(model: AnyModel) -> dict[str, Mapping[str, Any]]:
    """What is kept with the model, and with each of its members."""
    members = zip(model.names, model.members, strict=True) if isinstance(model, Ensemble) else ()
    return {"the model": model.about, **{name: cast("Segmenter", member).about for name, member in members}}
