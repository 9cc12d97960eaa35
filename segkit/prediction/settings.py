"""How a model is applied: as the caller says, else as it is kept with the model, else as the recipe does by default."""

from typing import Literal

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
    postprocess: Postprocessing | Kept | None = "kept",
) -> PredictRecipe:
    """The model's own settings with those in their place that are given.

    Of the given ones only the threshold is checked here; the others are where they are used.

    Raises:
        UsageError: a threshold outside 0..1.
        ModelError: the model's own are damaged.
    """
    if threshold != "kept" and not 0 <= threshold <= 1:
        raise UsageError(f"threshold={threshold:g}: expected a probability, 0..1")
    given: dict[str, object] = {
        "tile": tile,
        "overlap": overlap,
        "tta": tta,
        "threshold": threshold,
        "precision": precision,
        "postprocess": postprocess,
    }
    return kept_settings(model).model_copy(update={key: value for key, value in given.items() if value != "kept"})
