"""How a model is applied: as the caller says, else as it is kept with the model, else as the recipe does by default."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

from pydantic import ValidationError

from segkit.errors import ModelError, UsageError
from segkit.postprocessing.settings import Postprocessing
from segkit.recipe import PredictRecipe
from segkit.sections import Precision
from segkit.tta import TTA

Kept = Literal["kept"]
"""In the place of a setting: the one kept with the model."""


def kept_settings(model: object) -> PredictRecipe:
    """The settings kept in ``model.about["predict"]``; what isn't there is the recipe's default.

    Raises:
        ModelError: they are damaged.
    """
    try:
        return PredictRecipe.model_validate(getattr(model, "about", {}).get("predict", {}))
    except ValidationError as error:
        raise ModelError(f"the settings kept with the model are damaged: {error.errors()[0]['msg']}") from None


def settings_for(
    model: object,
    *,
    tile: int | Kept | None = "kept",
    overlap: float | Kept = "kept",
    tta: TTA | Kept = "kept",
    threshold: float | Kept = "kept",
    precision: Precision | Kept = "kept",
    postprocess: Postprocessing | Mapping[str, Any] | Kept | None = "kept",
) -> PredictRecipe:
    """The model's own settings with those in their place that are given.

    Of the given ones the threshold and the postprocessing, which may be as a recipe has it, are checked here; the
    others are where they are used.

    Raises:
        UsageError: a threshold outside 0..1, or no postprocessing.
        ModelError: the model's own are damaged.
    """
    if not is_kept(threshold) and not _is_probability(threshold):
        raise UsageError(f"threshold={threshold!r}: expected a probability, 0..1")
    if postprocess is not None and not is_kept(postprocess):
        postprocess = _postprocessing(postprocess)
    given: dict[str, object] = {
        "tile": tile,
        "overlap": overlap,
        "tta": tta,
        "threshold": threshold,
        "precision": precision,
        "postprocess": postprocess,
    }
    return kept_settings(model).model_copy(update={key: value for key, value in given.items() if not is_kept(value)})


def is_kept(value: object) -> bool:
    """Whether it stands for what is kept with the model; arrays, which may be given by mistake, compare to arrays."""
    return isinstance(value, str) and value == "kept"


def _is_probability(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and 0 <= float(value) <= 1


def _postprocessing(given: object) -> Postprocessing:
    try:
        return Postprocessing.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("postprocess", *first["loc"])))
        raise UsageError(f"{where}: {first['msg']}; expected what a recipe has under predict.postprocess") from None
