"""How labels come of probabilities, from the threshold to the last step after it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segkit.errors import RecipeError
from segkit.postprocessing.settings import Postprocessing
from segkit.postprocessing.steps import postprocess
from segkit.postprocessing.strips import Keep
from segkit.postprocessing.targets import Scale, Spacing, check_sizes

if TYPE_CHECKING:
    from segkit.prediction.protocol import Model


@dataclass(frozen=True)
class Labelling:
    """How labels come of probabilities.

    Attributes:
        threshold: probability from which a pixel is foreground (binary and multilabel).
        steps: what is done after, or instead where it has thresholds of its own; None: nothing.
    """

    threshold: float
    steps: Postprocessing | None = None

    def at(self, threshold: float) -> "Labelling":
        """The same at a threshold that is asked for, of a task that has any: it goes before those of the steps."""
        steps = self.steps.without("thresholds") if self.steps is not None else None
        return Labelling(threshold, steps if steps is not None and steps.steps else None)

    def kept(self) -> dict[str, Any] | None:
        """The steps, ready for JSON; None where there are none."""
        return None if self.steps is None else self.steps.kept()

    def check(self, name: str, shape: tuple[int, ...], spacing: Spacing | None) -> None:
        """Raise RecipeError, with the image's name, where its pixels have no size that a step is given in."""
        if self.steps is None:
            return
        try:
            check_sizes(self.steps, Scale(shape, spacing))
        except RecipeError as error:
            raise RecipeError(f"{name}: {error}") from None

    def labels(
        self,
        probabilities: NDArray[np.float32],
        labels: NDArray[np.uint8],
        model: "Model",
        *,
        spacing: Spacing | None = None,
        keep: Keep | None = None,
    ) -> NDArray[np.uint8]:
        """Labels by the threshold after the steps; see :func:`segkit.postprocessing.steps.postprocess`."""
        if self.steps is None:
            return labels
        return postprocess(
            probabilities,
            labels,
            settings=self.steps,
            task=model.task,
            classes=model.classes,
            background=model.background,
            spacing=spacing,
            threshold=self.threshold,
            keep=keep,
        )
