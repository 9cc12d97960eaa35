"""The arrays of one prediction: what a model is asked for, and what is put together of its blended answers."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.errors import NotFiniteError
from segkit.labels import at_temperature, labels_at
from segkit.prediction.ahead import Behind
from segkit.prediction.npy import NpyRows, npy_rows
from segkit.statistics import PixelStatistics, entropy
from segkit.task import Task


def blendable(statistics: PixelStatistics) -> Tensor:
    """What may be averaged over tiles and flips, as one tensor [B, K, H, W], or [B, K + 1, H, W] of an ensemble.

    That is the probabilities, and for an ensemble what of their entropy isn't its members' disagreement. The entropy in
    total may not: the mean over views that contradict one another would hide that they do.
    """
    if statistics.mutual_information is None:
        return statistics.probabilities
    agreed = statistics.entropy - statistics.mutual_information
    return torch.cat([statistics.probabilities, agreed[:, None]], dim=1)


def collect(
    bands: Iterable[NDArray[np.float32]],
    size: tuple[int, int],
    *,
    task: Task,
    maps: int,
    temperature: float = 1.0,
    threshold: float,
    name: str,
    out: Path | None = None,
) -> dict[str, NDArray[Any]]:
    """Arrays ``labels``, ``probabilities``, ``entropy`` and, of an ensemble, ``disagreement``: in memory, or in files.

    Args:
        bands: rows of what is :func:`blendable`, blended, from the top down, each [K or K + 1, h, W].
        size: H and W of the whole.
        task: binary, multilabel or multiclass; decides how probabilities become labels.
        maps: K.
        temperature: of the whole; it changes no label.
        threshold: probability from which a pixel of a binary or multilabel task is labelled 1.
        name: of the image.
        out: a folder; the arrays are then read-only memory maps of its files ``NAME_labels.npy`` and so on.

    Raises:
        ModelError: a value that is not finite.
    """
    layout: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "labels": (np.uint8, (maps, *size) if task == "multilabel" else size),
        "probabilities": (np.float32, (maps, *size)),
        "entropy": (np.float32, size),
    }
    places: dict[str, NpyRows | _Held] = {}

    def put(top_and_band: tuple[int, NDArray[np.float32]]) -> None:
        top, band = top_and_band
        if not np.isfinite(band).all():
            raise NotFiniteError(f"{name}: the model gives values that are not finite; was its training finite?")
        found = at_temperature(band[:maps], temperature, task)
        nats = entropy(torch.from_numpy(found[None]), task)[0].numpy()
        places["labels"].write(top, labels_at(band[:maps], temperature, task, threshold))
        places["probabilities"].write(top, found)
        places["entropy"].write(top, nats)
        if "disagreement" in places:
            # a temperature makes the whole surer or less sure, and the members no more agreed
            plain = nats if temperature == 1 else entropy(torch.from_numpy(band[None, :maps]), task)[0].numpy()
            places["disagreement"].write(top, (plain - band[maps]).clip(min=0))

    top = 0
    with ExitStack() as files, Behind(put) as writing:
        for band in bands:
            if not places:
                if len(band) > maps:
                    layout["disagreement"] = (np.float32, size)
                for key, (dtype, shape) in layout.items():
                    path = None if out is None else out / f"{name}_{key}.npy"
                    places[key] = (
                        _Held(dtype, shape) if path is None else files.enter_context(npy_rows(path, dtype, shape))
                    )
            if band.shape[1] == size[0]:  # nothing to compute meanwhile, and a thread has memory of its own
                put((top, band))
            else:
                writing.give((top, band))
            top += band.shape[1]
    if out is None:
        return {key: place.array for key, place in places.items() if isinstance(place, _Held)}
    return {key: np.load(out / f"{name}_{key}.npy", mmap_mode="r") for key in layout}


class _Held:
    """Takes rows into an array in memory."""

    def __init__(self, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        self.array: NDArray[Any] = np.empty(shape, dtype)

    def write(self, top: int, rows: NDArray[np.generic]) -> None:
        self.array[..., top : top + rows.shape[-2], :] = rows
