"""The model that the members of a recipe make together."""

from collections.abc import Sequence

from segkit.ensemble import Ensemble
from segkit.model import Segmenter
from segkit.recipe import Recipe
from segkit.training.plan import Plan


def makes_ensemble(recipe: Recipe) -> bool:
    """Whether the run makes an ensemble, with a folder a member, be it of one."""
    return recipe.ensemble is not None or recipe.varied


def assembled(recipe: Recipe, plans: Sequence[Plan], trained: Sequence[Segmenter]) -> Segmenter | Ensemble:
    """The run's model: an ensemble of those trained, or the only one."""
    return ensemble_of(recipe, plans, trained) if makes_ensemble(recipe) else trained[0]


def ensemble_of(recipe: Recipe, plans: Sequence[Plan], trained: Sequence[Segmenter]) -> Ensemble:
    """An ensemble of those trained, the first of the plans; they are fewer where training was stopped."""
    names = [plan.member.name for plan in plans[: len(trained)]]
    weights = weights_of(recipe, plans)[: len(trained)]
    ensemble = Ensemble(list(trained), usable(weights), names=names).eval()
    ensemble.about = {"predict": recipe.predict.model_dump()}
    return ensemble


def weights_of(recipe: Recipe, plans: Sequence[Plan]) -> list[float]:
    """One a plan: of each member once a fold and seed."""
    named = recipe.ensemble.weights if recipe.ensemble is not None else None
    if named is None:
        return [1.0] * len(plans)
    return [weight for weight in named for _ in range(len(plans) // len(named))]


def usable(weights: list[float]) -> list[float] | None:
    """None, for equal ones, where all are 0."""
    return weights if sum(weights) > 0 else None
