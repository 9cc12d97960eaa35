"""Sample pictures of a run: image, truth, prediction and errors side by side."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from segkit.data.folder import DatasetFolder, Sample
from segkit.data.masks import IGNORE
from segkit.data.model_input import read_input
from segkit.data.reader import Reader
from segkit.drawing.error_picture import draw_errors
from segkit.drawing.overlay import draw_overlay
from segkit.drawing.palette import default_palette
from segkit.labels import labels_of
from segkit.model import Segmenter
from segkit.prediction.bands import tiled
from segkit.prediction.evaluating import evaluating
from segkit.prediction.writers import write_picture
from segkit.recipe import PredictRecipe

GAP = 4  # white pixels between panels
WIDEST = 480  # pixels of a panel's longer side


def to_show(folder: DatasetFolder, samples: Sequence[Sample], reader: Reader, count: int) -> list[Sample]:
    """The first pictures; of a volume the slice, in the first plane that its model looks at, with most foreground."""
    found = []
    for sample in samples[:count]:
        slices = folder.slices([sample], reader)
        first = [each for each in slices if each.plane == slices[0].plane]
        found.append(max(first, key=lambda each: _foreground(folder, each)) if len(first) > 1 else first[0])
    return found


def _foreground(folder: DatasetFolder, sample: Sample) -> int:
    ids = folder.read_mask(sample)
    inside = (ids == 1) if ids.ndim == 3 else (ids != IGNORE) & (ids != (folder.background or 0))
    return int(inside.sum())


def draw_samples(
    segmenter: Segmenter, folder: DatasetFolder, samples: Sequence[Sample], predict: PredictRecipe, directory: Path
) -> None:
    """Write one PNG a sample into ``directory``: image, truth, prediction, errors.

    The colours of the errors are those of :func:`segkit.drawing.error_picture.draw_errors`.
    """
    device = segmenter.mean.device
    palette = default_palette(segmenter.task, segmenter.maps, segmenter.background)
    background = 0 if segmenter.task == "binary" else segmenter.background
    for sample in samples:
        given = read_input(folder, sample, segmenter.reader)
        assert isinstance(given, np.ndarray)  # no whole volume
        image = given[..., : segmenter.reader.channels]
        truth = folder.read_mask(sample, image.shape[:2])
        batch = torch.from_numpy(given).permute(2, 0, 1)[None].to(device)  # [1, inputs, H, W]
        with evaluating(segmenter):
            maps = tiled(segmenter.probabilities, batch, tile=predict.tile, overlap=predict.overlap)[0].cpu().numpy()
        labels = labels_of(maps, segmenter.task, predict.threshold)
        shown = np.where(truth == IGNORE, 0 if background is None else background, truth).astype(np.uint8)
        panels = [
            draw_overlay(image, np.zeros(image.shape[:2], np.uint8), palette, 0),
            draw_overlay(image, shown, palette, background),
            draw_overlay(image, labels, palette, background),
            draw_errors(labels, truth, background),
        ]
        write_picture(directory / f"{sample.name}.png", _side_by_side(panels))


def _side_by_side(panels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height, width = panels[0].shape[:2]
    scale = min(1.0, WIDEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk = [cv2.resize(panel, size, interpolation=cv2.INTER_AREA) for panel in panels]
    gap = np.full((size[1], GAP, 3), 255, np.uint8)
    pieces = [piece for panel in shrunk for piece in (panel, gap)][:-1]
    return np.concatenate(pieces, axis=1)
