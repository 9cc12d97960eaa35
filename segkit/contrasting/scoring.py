"""How well held-out pictures and their depth find each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.contrasting.colour_depth import ColourDepth
from segkit.contrasting.dense import draw_places
from segkit.contrasting.retrieval import TIED, recall
from segkit.data.batches import collate
from segkit.data.dataset import SegmentationDataset
from segkit.errors import DataError

BATCH = 16  # pictures at a time
POINTS = 64  # places of each picture


@dataclass(frozen=True)
class Retrieval:
    """What was found of held-out pairs.

    Attributes:
        names: of the pictures whose depth has something measured, [N].
        colour, depth: their vectors [N, D] on the CPU; empty where the model has none of whole pictures.
        figures: ``r1`` and ``r5``, means of both directions, and each direction's as ``r1_to_depth`` and so on (by
            chance 1 / N and 5 / N); ``dense_r1``, the share of places whose most similar place in the same picture's
            depth, of 64 drawn, is itself or one within the radius. What the model wasn't made for isn't there.
    """

    names: tuple[str, ...]
    colour: Tensor
    depth: Tensor
    figures: dict[str, float]


@torch.no_grad()
def retrieve(model: ColourDepth, dataset: SegmentationDataset) -> Retrieval:
    """Return how pictures and their depth find each other, seen whole and as they are.

    Args:
        model: in evaluation mode.
        dataset: pairs that all have one size and aren't augmented.

    Raises:
        DataError: nothing is measured in any of them.
    """
    device, options = model.mean.device, model.options
    names: list[str] = []
    colours, depths = [], []
    hits: list[bool] = []
    for start in range(0, len(dataset), BATCH):
        items = collate([dataset[0, index] for index in range(start, min(start + BATCH, len(dataset)))])
        measured = (items["depth"][:, -1] > 0.5).flatten(1).any(1)
        names += [name for name, has_depth in zip(items["name"], measured.tolist(), strict=True) if has_depth]
        place = draw_places(items["depth"][:, -1] > 0.5, POINTS, np.random.default_rng([0, start]))
        image, depth = (items[name].to(device, memory_format=torch.channels_last) for name in ("image", "depth"))
        found = model(image, depth, place.to(device))
        if options.image:
            colours.append(found.colour.float().cpu()[measured])
            depths.append(found.depth.float().cpu()[measured])
        if options.dense:
            hits += _hits(found.colour_places.float().cpu(), found.depth_places.float().cpu(), place, options.radius)
    if not names:
        raise DataError(f"{dataset.folder.path}: nothing is measured in the depth of any held-out picture")
    figures: dict[str, float] = {}
    first, second = (torch.cat(each) if each else torch.zeros(0, options.dim) for each in (colours, depths))
    if options.image:
        for name, (there, back) in recall(first, second).items():
            figures |= {name: (there + back) / 2, f"{name}_to_depth": there, f"{name}_to_colour": back}
    if options.dense:
        figures["dense_r1"] = float(np.mean(hits)) if hits else 0.0
    return Retrieval(tuple(names), first, second, figures)


def _hits(first: Tensor, second: Tensor, place: Tensor, radius: float) -> Sequence[bool]:
    """Of each place, whether the most similar one of its picture is near enough; one as similar further off counts."""
    hits: list[bool] = []
    for picture in sorted(set(place[:, 0].tolist())):
        own = place[:, 0] == picture
        where = place[own, 1:].float()
        similar = F.normalize(first[own].double(), dim=1) @ F.normalize(second[own].double(), dim=1).T
        near = (where[:, None] - where[None]).norm(dim=2) <= radius
        best, further = (similar.masked_fill(~each, -2).amax(1) for each in (near, ~near))
        hits += (best > further + TIED).tolist()
    return hits
