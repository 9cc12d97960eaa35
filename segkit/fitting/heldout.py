"""What the members say of pictures they haven't seen, kept for fitting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from segkit.data.cases import Case
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.masks import IGNORE, Ids
from segkit.data.model_input import read_input
from segkit.ensemble import Ensemble
from segkit.errors import NotFiniteError
from segkit.prediction.of_sample import seen_of
from segkit.prediction.predictor import Predictor

MEMORY = 1 << 28  # bytes of all members' maps; of larger pictures a window is kept
SMALLEST_SIDE = 32  # of a window


@dataclass(frozen=True)
class HeldOut:
    """What each member says of a picture, or of a window of it, and what is true.

    Attributes:
        name: of the picture.
        members: probabilities float32 [M, maps, h, w].
        image: float32 [C, h, w] in 0..1.
        target: ids int64 [h, w], or 0/1 maps float32 [maps, h, w] for multilabel, 255 to ignore.
        whole: whether it is all of the picture.
    """

    name: str
    members: Tensor
    image: Tensor
    target: Tensor
    whole: bool = True


def windows(pictures: Sequence[HeldOut]) -> str:
    """What is to be said of pictures of which a window alone is looked at; nothing where there are none."""
    parts = [picture for picture in pictures if not picture.whole]
    if not parts:
        return ""
    height, width = parts[0].target.shape[-2:]
    return (
        f"of {len(parts)} of {len(pictures)} pictures a window of about {width} x {height} is looked at: all maps of "
        "all members would take more memory than is kept for them, so figures differ from those of whole pictures"
    )


def hold_out(
    ensemble: Ensemble,
    predictor: Predictor,
    folder: DatasetFolder,
    samples: Sequence[Sample],
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> list[HeldOut]:
    """Every member's maps of every picture, each member at its own temperature and by the predictor's settings.

    All maps together take about ``MEMORY`` at most. Where whole pictures would take more, a window of each is kept,
    drawn by ``seed`` around one of its pixels that count, of ``SMALLEST_SIDE`` at least.

    Raises:
        ModelError: values that are not finite.
        DataError: a picture or mask that can't be used.
    """
    ready = cast("Ensemble", predictor.prepared)
    members, maps = len(ensemble.members), ensemble.maps
    side = max(SMALLEST_SIDE, int((MEMORY / (4 * members * maps * max(len(samples), 1))) ** 0.5))

    def ask(tiles: Tensor) -> Tensor:
        return torch.cat(list(ready.members_probabilities(tiles)), dim=1)  # [b, M·maps, h, w]

    found = []
    for index, sample in enumerate(samples):
        image = read_input(folder, sample, ensemble.reader)
        target = folder.read_mask(sample, image.shape[:2])
        rows, columns = _window(target, side, np.random.default_rng((seed, index)))
        bands, top = [], 0
        for band in predictor.rows(ask, image):
            first, last = max(rows.start - top, 0), min(rows.stop - top, band.shape[1])
            if first < last:
                bands.append(torch.from_numpy(band[:, first:last, columns].copy()))
            top += band.shape[1]
        said = torch.cat(bands, dim=1)
        shown = seen_of(folder, sample, ensemble.reader).whole() if isinstance(image, Case) else image
        picture = shown[rows, columns, : ensemble.reader.channels]
        if not said.isfinite().all():
            raise NotFiniteError(f"{sample.name}: a member gives values that are not finite; was its training finite?")
        truth = torch.from_numpy(target[..., rows, columns].astype(np.int64))
        found.append(
            HeldOut(
                name=sample.name,
                members=said.view(members, maps, *said.shape[1:]),
                image=torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))),
                target=truth.float() if ensemble.task == "multilabel" else truth,
                whole=picture.shape[:2] == shown.shape[:2],
            )
        )
        progress(sample.name)
    return found


def points(pictures: Sequence[HeldOut], most: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """At most about ``most`` pixels, as many of each picture: members [M, maps, N], target [N] or [maps, N].

    Pixels that don't count aren't among them; of a multilabel picture those that count for no map.
    """
    share = max(1, most // len(pictures))
    generator = torch.Generator().manual_seed(seed)
    members, targets = [], []
    for picture in pictures:
        target = picture.target.flatten(-2)
        counted = ((target != IGNORE) if target.ndim == 1 else (target != IGNORE).any(0)).nonzero()[:, 0]
        if len(counted) > share:
            counted = counted[torch.randperm(len(counted), generator=generator)[:share]]
        members.append(picture.members.flatten(-2)[..., counted])
        targets.append(target[..., counted])
    return torch.cat(members, dim=-1), torch.cat(targets, dim=-1)


def with_members(picture: HeldOut, change: Callable[[int, Tensor], Tensor]) -> HeldOut:
    """The same with each member's maps [1, maps, h, w] changed, by its place."""
    changed = [change(index, maps[None]) for index, maps in enumerate(picture.members)]
    return replace(picture, members=torch.cat(changed))


def _window(target: Ids, side: int, random: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a window of side² pixels around one that counts, if any does: square where it can be."""
    height, width = target.shape[-2:]
    tall, wide = side, side
    if width < side:  # a volume's slices one below the other
        tall = side * side // width
    elif height < side:
        wide = side * side // height
    if height <= tall and width <= wide:
        return slice(0, height), slice(0, width)
    counted = (target != IGNORE) if target.ndim == 2 else (target != IGNORE).any(0)
    places = np.flatnonzero(counted)
    place = int(random.choice(places)) if len(places) else 0
    slices = []
    for centre, length, most in zip(divmod(place, width), (height, width), (tall, wide), strict=True):
        start = min(max(centre - most // 2, 0), max(length - most, 0))
        slices.append(slice(start, min(start + most, length)))
    return slices[0], slices[1]
