"""What is kept with a model to judge its predictions by, and the judgement of one prediction."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from segkit.errors import ModelError
from segkit.recipe import PredictRecipe
from segkit.trusting.familiar import Range, properties_of, unlike
from segkit.trusting.quality import Quality
from segkit.trusting.signs import SIGNS, signs_of

if TYPE_CHECKING:
    from segkit.prediction.prediction import Prediction

KEY = "trust"  # of what is kept with a model


@dataclass(frozen=True)
class Trust:
    """How far one prediction is to be trusted.

    Attributes:
        predicted_dice: to expect of it, 0..1: the mean over the classes that it shows, or should.
        bound: about a share ``risk`` of all pictures have a Dice below their bound, see ``Quality.bound``.
        verdict: ``accept``, or ``review`` where the predicted Dice is below the judge's cut, or the picture is unlike
            those trained on.
        unlike: in what the picture is unlike them; empty where in nothing.
    """

    predicted_dice: float
    bound: float
    verdict: Literal["accept", "review"]
    unlike: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """Ready for JSON."""
        rounded = {"predicted_dice": round(self.predicted_dice, 4), "bound": round(self.bound, 4)}
        return {**asdict(self), **rounded, "unlike": list(self.unlike)}


class Judge(BaseModel):
    """What predictions are judged by; :func:`segkit.fitting.trust.trust` fits it.

    Attributes:
        quality: the regression.
        ranges: of the pictures trained on; empty where they weren't there to be looked at.
        good: the Dice from which on a prediction is as good as wanted.
        risk: share of accepted predictions that may be worse.
        settings: of prediction that it was fitted at, which change the signs.
        disagrees: whether the model told its disagreement.
    """

    model_config = ConfigDict(extra="forbid")
    quality: Quality
    ranges: list[Range]
    good: float = Field(gt=0, lt=1)
    risk: float = Field(gt=0, lt=1)
    settings: dict[str, Any]
    disagrees: bool

    @model_validator(mode="after")
    def _fits_the_signs(self) -> Self:
        quality = self.quality
        if tuple(quality.signs) != SIGNS or any(
            len(values) != len(SIGNS) for values in (quality.centre, quality.scale, quality.slopes)
        ):
            raise ValueError("its signs aren't those of this segkit; teach the model again")
        return self

    def unfit(self, settings: Mapping[str, Any], *, disagrees: bool) -> str | None:
        """Why predictions with these settings can't be judged; None where they can."""
        for key, value in settings.items():
            taught = self.settings.get(key)
            if taught != value:
                return f"it was taught with {key}={taught}, not {value}"
        if disagrees != self.disagrees:
            return "it was taught with the members' disagreement, which isn't known here"
        return None

    def of(self, prediction: "Prediction") -> Trust:
        """The judgement of a prediction."""
        signs = signs_in(prediction)
        strange = tuple(unlike(self.ranges, properties_of(prediction.scaled))) if self.ranges else ()
        predicted, cut = self.quality.predicted(signs), self.quality.cut
        accepted = cut is not None and predicted >= cut and not strange
        return Trust(predicted, self.quality.bound(signs, self.risk), "accept" if accepted else "review", strange)


def signs_in(prediction: "Prediction") -> NDArray[np.float64]:
    """The signs of a prediction, see :func:`segkit.trusting.signs.signs_of`."""
    return signs_of(
        prediction.labels,
        prediction.probabilities,
        prediction.entropy,
        prediction.disagreement,
        task=prediction.task,
        background=prediction.background,
    )


def settings_of(predict: PredictRecipe) -> dict[str, Any]:
    """Those of the settings of prediction that change what it shows of itself."""
    postprocess = predict.postprocess.kept() if predict.postprocess is not None else None
    return {"tile": predict.tile, "tta": predict.tta, "threshold": predict.threshold, "postprocess": postprocess}


def without_judge(about: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept with a model, for another one that is made of it."""
    return {key: value for key, value in about.items() if key != KEY}


def kept_judge(about: Mapping[str, Any]) -> Judge | None:
    """What is kept with a model; None where nothing is.

    Raises:
        ModelError: it is damaged.
    """
    if KEY not in about:
        return None
    try:
        return Judge.model_validate(about[KEY])
    except ValidationError as error:
        raise ModelError(f"what is kept with the model under {KEY!r} is damaged: {error.errors()[0]['msg']}") from None
