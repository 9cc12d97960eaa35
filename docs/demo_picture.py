"""Draw the README's picture from a finished demonstration: picture, truth, ensemble, errors, uncertainty.

python docs/demo_picture.py segkit-demo
"""

import sys
from pathlib import Path

import numpy as np

import segkit
from segkit.demo import pictures_of
from segkit.prediction.writers import write_picture

GAP = 8  # white pixels between the panels
EXAMPLE = 1  # the second test picture has touching cells, debris and a faint one


def main(demo: Path) -> None:
    folder = segkit.open_dataset(demo / "cells")
    sample = folder.samples("test")[EXAMPLE]
    prediction = segkit.Predictor(demo / "runs" / "demo" / "model").predict(sample.image)
    panels = list(pictures_of(prediction, folder.read_mask(sample)).values())
    gap = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    strip = np.concatenate([piece for panel in panels for piece in (panel, gap)][:-1], axis=1)
    write_picture(Path(__file__).parent / "demo.png", strip)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
