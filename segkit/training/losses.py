"""The loss that a recipe names: a weighted sum of cross_entropy, bce, dice, focal, tversky, lovasz and a user's own.

How a loss is called, and what is ignored, weighted and averaged: ``segkit/training/loss.py``.
"""

import inspect
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from segkit.errors import RecipeError
from segkit.nearest import nearest
from segkit.own_class import own_class
from segkit.parts import checked_options
from segkit.task import Task
from segkit.training.loss import TASKS, Loss
from segkit.training.pixel_losses import BinaryCrossEntropy, CrossEntropy, Focal
from segkit.training.region_losses import Dice, Lovasz, Tversky

LOSSES: dict[str, type[Loss]] = {
    "bce": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
    "dice": Dice,
    "focal": Focal,
    "lovasz": Lovasz,
    "tversky": Tversky,
}
FROM_THE_DATASET = ("self", "task", "class_weights", "background")  # arguments that are no options of a term


def build_loss(
    terms: Mapping[str, float | Mapping[str, object]],
    *,
    task: Task,
    classes: int,
    class_weights: Sequence[float] | None = None,
    background: int | None = None,
) -> "WeightedSum":
    """Return the weighted sum of the losses named in ``terms``.

    Args:
        terms: a name to its weight, or to its options with ``weight`` (1.0 where left out) among them:
            ``{"cross_entropy": 1.0, "dice": {"weight": 0.5, "smooth": 1.0}}``. A term of weight 0 is left out. A name
            ``package.module:Class`` is a user's own subclass of :class:`segkit.training.loss.Loss`.
        task: "binary", "multilabel" or "multiclass".
        classes: how many classes the dataset names; says how many class weights there must be.
        class_weights: one per class; for binary two (background, foreground), however many names the classes have.
        background: id of the background, needed where a multiclass term says ``include_background: false``.

    Raises:
        RecipeError: naming the key, what was expected, and the nearest right name.
    """
    if task not in TASKS:
        raise RecipeError(f"task: {task!r} is unknown; expected one of {', '.join(TASKS)}")
    if class_weights is not None:
        expected = 2 if task == "binary" else classes
        if len(class_weights) != expected:
            order = " (background, foreground)" if task == "binary" else ", one per class"
            raise RecipeError(f"class_weights: {len(class_weights)} given; expected {expected}{order}")
        if not all(math.isfinite(w) and w >= 0 for w in class_weights) or not any(class_weights):
            raise RecipeError(f"class_weights: {list(class_weights)}; expected numbers of at least 0, not all 0")

    built: dict[str, tuple[float, Loss]] = {}
    for name, value in terms.items():
        if name not in LOSSES and ":" not in name:
            raise RecipeError(f"loss.{name}: no such loss{nearest(name, LOSSES)}")
        given = dict(value) if isinstance(value, Mapping) else {"weight": value}
        weight = number(f"loss.{name}.weight", given.pop("weight", 1.0))
        if weight < 0:
            raise RecipeError(f"loss.{name}.weight: {weight:g}; expected 0 or more")
        make = create_own if ":" in name else create
        loss = make(name, given, task=task, class_weights=class_weights, background=background)
        if weight > 0:
            built[name.replace(".", "_")] = (weight, loss)  # a module's name has no dots
    if not built:
        raise RecipeError(f"loss: no term with a weight above 0; name at least one of {', '.join(LOSSES)}")
    if class_weights is not None and not any(loss.heeds_class_weights for _, loss in built.values()):
        raise RecipeError(
            f"class_weights: of a binary task {', '.join(built)} looks at one map, where they change nothing; add "
            "cross_entropy, or leave them out (dice and tversky heed them with include_background: true)"
        )
    return WeightedSum(built)


def create(
    name: str,
    options: Mapping[str, object],
    *,
    task: Task,
    class_weights: Sequence[float] | None,
    background: int | None,
) -> Loss:
    """Return one of the toolkit's losses; its options are checked against the constructor's own arguments."""
    accepted = inspect.signature(LOSSES[name].__init__).parameters
    defaults = {key: p.default for key, p in accepted.items() if key not in FROM_THE_DATASET}
    for key, value in options.items():
        if key not in defaults:
            raise RecipeError(f"loss.{name}.{key}: no such option{nearest(key, ['weight', *defaults])}")
        if "bool" in str(accepted[key].annotation):
            if not isinstance(value, bool):
                raise RecipeError(f"loss.{name}.{key}: {value!r}; expected true or false")
        elif value is not None or defaults[key] is not None:
            number(f"loss.{name}.{key}", value)
    shared: dict[str, object] = {"class_weights": class_weights}
    if "background" in accepted:
        shared["background"] = background
    try:
        return LOSSES[name](task, **shared, **options)  # type: ignore[arg-type]  # checked against the signature above
    except ValueError as error:
        raise RecipeError(f"loss.{name}: {error}") from error


def create_own(
    place: str,
    options: Mapping[str, object],
    *,
    task: Task,
    class_weights: Sequence[float] | None,
    background: int | None,
) -> Loss:
    """Return a user's loss; it is told of the dataset what its constructor has a parameter for."""
    try:
        kind = own_class(place, Loss)
        checked = checked_options(f"loss '{place}'", kind, options, given=FROM_THE_DATASET)
        told = {"class_weights": class_weights, "background": background}
        accepted = inspect.signature(kind).parameters
        loss: Loss = kind(task, **{key: value for key, value in told.items() if key in accepted}, **checked)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"loss: {error}") from error
    return loss


def number(key: str, value: object) -> float:
    """Return ``value`` as a finite float, or raise RecipeError naming ``key``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RecipeError(f"{key}: {value!r}; expected a number")
    return float(value)


class WeightedSum(nn.Module):
    """Sum of losses, each times its weight; ``terms`` maps a name to (weight, loss)."""

    def __init__(self, terms: Mapping[str, tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.weights = {name: weight for name, (weight, _) in terms.items()}
        self.terms = nn.ModuleDict({name: loss for name, (_, loss) in terms.items()})

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; shapes as in ``loss``."""
        parts = [self.weights[name] * loss(logits, target, weight) for name, loss in self.terms.items()]
        return torch.stack(parts).sum()
