"""How a model is applied: as the caller says, else as it is kept with the model, else as the recipe does by default."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal, get_args

from pydantic import ValidationError

from segkit.ensemble import Ensemble
from segkit.errors import ModelError, UsageError
from segkit.postprocessing.settings import Postprocessing
from segkit.postprocessing.targets import check
from segkit.prediction.protocol import Model
from segkit.prediction.tiles import check_tiling
from segkit.prediction.views import views_of
from segkit.recipe import PredictRecipe
from segkit.sections import Precision
from segkit.tta import TTA, parse_tta

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


def checked_settings(
    model: Model,
    *,
    tile: int | Kept | None,
    overlap: float | Kept,
    tta: TTA | Kept,
    precision: Precision | Kept,
    postprocess: Postprocessing | Mapping[str, Any] | Kept | None,
) -> PredictRecipe:
    """The settings that a model predicts by, each within its range and fit for the model.

    Raises:
        UsageError: a value outside its range, or without a meaning for this model.
        ModelError: the model's own are damaged.
        RecipeError: the postprocessing names a class that the model doesn't have.
    """
    if model.takes_whole_images:
        if tile not in ("kept", None):
            raise UsageError(f"tile={tile}: this model takes images whole; leave tile out")
        if not is_kept(overlap):
            raise UsageError(f"overlap={overlap}: this model takes images whole; leave overlap out")
        tile = None
    settings = settings_for(model, tile=tile, overlap=overlap, tta=tta, precision=precision, postprocess=postprocess)
    if settings.postprocess is not None:
        check(settings.postprocess, model.task, model.classes, model.background)
    check_tiling(settings.tile, settings.overlap)
    views_of(settings.tta)
    if not is_kept(tta) and len(parse_tta(tta).scales) > 1 and _brings_to_one_size(model):
        raise UsageError(f"tta={tta}: this model brings images to one size, so that scales only blur; leave them out")
    if settings.precision not in get_args(Precision):
        raise UsageError(f"precision={precision!r}: expected one of {', '.join(get_args(Precision))}")
    return settings


def unlike_kept(model: object, how: Mapping[str, Any]) -> list[str]:
    """A note for each setting that changes maps, given for something fitted, that the model itself doesn't predict by.

    Args:
        model: that was fitted.
        how: settings as ``Predictor`` takes them.
    """
    kept = kept_settings(model)
    given = {key: how[key] for key in ("tile", "tta") if key in how and not is_kept(how[key])}
    return [
        f"found with {key}={value}; by itself the model predicts with {key}={getattr(kept, key)}: give predict the same"
        for key, value in given.items()
        if value != getattr(kept, key)
    ]


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


def _brings_to_one_size(model: object) -> bool:
    """Whether every part of it looks at images of one size, whatever they had."""
    parts: list[object] = list(model.members) if isinstance(model, Ensemble) else [model]
    return all(getattr(part, "input_size", None) is not None for part in parts)
