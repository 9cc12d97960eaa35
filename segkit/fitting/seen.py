"""Whether pictures to fit on were trained on."""

from collections.abc import Mapping
from typing import Any

from segkit.errors import UsageError


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
