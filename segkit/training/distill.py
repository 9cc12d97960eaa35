"""One model from many: a student that learns what an ensemble says, and how far its members disagree."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segkit.errors import UsageError
from segkit.recipe import Recipe, TeacherRecipe
from segkit.recipe_file import load_recipe
from segkit.training.run import Run, train


def distill(
    teacher: str | Path,
    data: str | Path,
    student: str | Path | Recipe,
    overrides: Sequence[str] = (),
    *,
    unlabelled: str | Path | None = None,
    share: float = 0.5,
    out: str | Path = "runs",
    resume: bool = False,
    console: bool = True,
) -> Run:
    """Train a student on a dataset's masks and on a teacher's probabilities (Hinton et al., 2015).

    The teacher looks at every training picture once, by the settings kept with it. A student of an ensemble has a
    second head that learns its disagreement (mutual information); ``statistics()`` and predictions give it.

    Args:
        teacher: where a saved model is, usually an ensemble.
        data: the dataset's folder.
        student: a recipe with a ``model``, as :func:`segkit.train` takes it.
        overrides: ``key=value``, as on the command line.
        unlabelled: a folder of further pictures, which only the teacher labels.
        share: of the loss that is against the teacher's probabilities, above 0 and at most 1; at 1 masks aren't used.
        out, resume, console: as for :func:`segkit.train`.

    Raises:
        UsageError, RecipeError, DataError, ModelError: as :func:`segkit.train`.
    """
    recipe = load_recipe(student, overrides, data=data)
    if recipe.teacher is not None:
        raise UsageError(f"{recipe.name}: the recipe names a teacher itself; leave it out there, or use segkit train")
    values: dict[str, Any] = {"model": str(teacher), "share": share}
    try:
        taught = TeacherRecipe(**values, unlabelled=None if unlabelled is None else str(unlabelled))
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]}={first['input']!r}: {first['msg']}") from None
    return train(recipe.model_copy(update={"teacher": taught}), out=out, resume=resume, console=console)
