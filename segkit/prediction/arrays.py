"""The arrays of one prediction: what a model is asked for, and what is put together of its blended answers."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.errors import ModelError
from segkit.files import atomic_path
from segkit.prediction.labels import labels_of
from segkit.statistics import PixelStatistics, entropy


def blendable(statistics: PixelStatistics) -> Tensor:
    """What may be averaged over tiles and flips, as one tensor [B, K, H, W], or [B, K + 1, H, W] of an ensemble.

    That is the probabilities, and for an ensemble the mean entropy within its members. The entropy in total may not:
    the mean over views that contradict one another would hide that they do.
    """
    if statistics.mutual_information is None:
        return statistics.probabilities
    within = statistics.entropy - statistics.mutual_information
    return torch.cat([statistics.probabilities, within[:, None]], dim=1)


def collect(
    bands: Iterable[NDArray[np.float32]],
    size: tuple[int, int],
    *,
    task: str,
    maps: int,
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
    arrays: dict[str, NDArray[Any]] = {}
    top = 0
    with ExitStack() as files:
        for band in bands:
            if not np.isfinite(band).all():
                raise ModelError(f"{name}: the model gives values that are not finite; was its training finite?")
            if not arrays:
                if len(band) > maps:
                    layout["disagreement"] = (np.float32, size)
                arrays = {key: _array(files, out, f"{name}_{key}", *layout[key]) for key in layout}
            rows = slice(top, top + band.shape[1])
            arrays["labels"][..., rows, :] = labels_of(band[:maps], task, threshold)
            arrays["probabilities"][:, rows] = band[:maps]
            arrays["entropy"][rows] = entropy(torch.from_numpy(band[None, :maps]), task)[0].numpy()
            if "disagreement" in arrays:
                arrays["disagreement"][rows] = (arrays["entropy"][rows] - band[maps]).clip(min=0)
            top = rows.stop
        if out is None:
            return arrays
        arrays.clear()  # closes the memory maps: Windows renames no open file
    return {key: np.load(out / f"{name}_{key}.npy", mmap_mode="r") for key in layout}


def _array(
    files: ExitStack, out: Path | None, name: str, dtype: type[np.generic], shape: tuple[int, ...]
) -> NDArray[Any]:
    """An empty array in memory, or in a file that gets its final name when ``files`` is closed without an error."""
    if out is None:
        return np.empty(shape, dtype)
    path = files.enter_context(atomic_path(out / f"{name}.npy"))
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
