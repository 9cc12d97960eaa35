"""Draw the pictures of docs/depth.md, in the folder where its commands were run.

python docs/depth_pictures.py FOLDER
"""

import sys
from pathlib import Path

import cv2
import numpy as np

import segkit
from segkit.drawing.overlay import draw_overlay
from segkit.drawing.palette import default_palette
from segkit.prediction.depth_picture import draw_depth
from segkit.prediction.writers import write_picture

DOCS = Path(__file__).parent
GAP = 4  # white pixels between the panels
EXAMPLE = 1
ENLARGED = 2


def main(place: Path) -> None:
    folder = segkit.open_dataset(place / "cells")
    sample = folder.samples("test")[EXAMPLE]
    image = cv2.imread(str(sample.image))[..., ::-1]
    depth = folder.read_depth(sample, image.shape[:2])
    truth = draw_overlay(image.astype(np.float32) / 255, folder.read_mask(sample), default_palette("binary", 1, 0), 0)
    gap = np.full((len(image), GAP, 3), 255, np.uint8)
    write_picture(DOCS / "depth_data.png", _large(np.concatenate([image, gap, draw_depth(depth), gap, truth], axis=1)))
    changed = cv2.imread(str(place / "with" / f"{sample.name}_depth.png"))[..., ::-1]
    write_picture(DOCS / "depth_change.png", _large(changed))


def _large(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
