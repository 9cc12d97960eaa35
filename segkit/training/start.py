"""A model that begins with the weights of a saved one."""

import re

from torch import Tensor

from segkit.artifact import load_segmentation
from segkit.backbones.bridged import Bridged
from segkit.errors import ModelError, RecipeError
from segkit.model import Segmenter

OWN = ("encoding.", "auxiliary.", "spread.")  # tensors that aren't taken from a model to start from
NORMALISATION = ("mean", "std")  # nor these, but for a model of the image alone that is taught depth


def start_from(segmenter: Segmenter, path: str, where: str, *, measured: bool) -> bool:
    """Give a segmenter the weights of a saved one, and what is kept of its training.

    Normalisation, auxiliary heads and a second head are its own.

    One with depth may begin with the weights of one of the image alone, and then says what that says: it takes its
    normalisation, too.

    Args:
        segmenter: to start.
        path: where the other is saved.
        where: what messages begin with.
        measured: whether the segmenter's normalisation is that of its pictures, and not one that was asked for.

    Returns:
        whether the other looks at the image alone, and this one at depth too, whose part keeps its own weights.

    Raises:
        ModelError: there is none.
        RecipeError: it is of another shape, naming the first tensor that differs.
    """
    try:
        first = load_segmentation(path)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
    if not isinstance(first, Segmenter):
        raise RecipeError(f"{where}: expected a single model; of an ensemble name one member's folder")
    theirs: dict[str, Tensor] = first.state_dict()
    ours: dict[str, Tensor] = segmenter.state_dict()
    left: tuple[str, ...] = (*OWN, *NORMALISATION)
    of_image_alone = isinstance(segmenter.backbone, Bridged) and not isinstance(first.backbone, Bridged)
    if of_image_alone:
        theirs = {re.sub(r"^backbone\.", "backbone.colour.", name): tensor for name, tensor in theirs.items()}
        left = (*OWN, *(() if measured else NORMALISATION), "backbone.depth.", "backbone.bridges.")
    if segmenter.encoding is not None and first.encoding is not None:
        now, learnt = ((each.kind, each.per_picture) for each in (segmenter.encoding, first.encoding))
        if now != learnt:
            raise RecipeError(
                f"{where}: it learnt from depth as {learnt[0]!r}{' per picture' * learnt[1]}, here it is {now[0]!r}"
                f"{' per picture' * now[1]}; set model.encoding to the same"
            )
    names = [name for name in {**ours, **theirs} if not name.startswith(left)]
    for name in names:
        here, there = (list(each[name].shape) if name in each else "none" for each in (ours, theirs))
        if here != there:
            raise RecipeError(f"{where}: of another shape: {name} is {there} there, {here} here")
    segmenter.load_state_dict({name: theirs[name] for name in names}, strict=False)
    segmenter.about = {"trained_on": first.about.get("trained_on", {})}
    return of_image_alone
