"""Draw the pictures of docs/ensembles.md, in the folder where its commands were run.

python docs/ensembles_pictures.py FOLDER
"""

import shutil
import sys
from pathlib import Path

import numpy as np

import segkit
from segkit.demo import pictures_of
from segkit.drawing.heat import draw_heat
from segkit.prediction.writers import write_picture
from segkit.statistics import maximum_entropy

DOCS = Path(__file__).parent
GAP = 8  # white pixels between the panels
EXAMPLE = 4


def main(place: Path) -> None:
    shutil.copy(place / "inside" / "agreement.png", DOCS / "ensembles_agreement.png")
    shutil.copy(place / "stress" / "robustness.png", DOCS / "ensembles_stress.png")
    folder = segkit.open_dataset(place / "cells")
    sample = folder.samples("test")[EXAMPLE]
    prediction = segkit.Predictor(place / "fitted").predict(sample.image)
    panels = list(pictures_of(prediction, folder.read_mask(sample)).values())
    assert prediction.disagreement is not None
    panels.append(draw_heat(prediction.disagreement / maximum_entropy("binary", 1)))
    gap = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    strip = np.concatenate([piece for panel in panels for piece in (panel, gap)][:-1], axis=1)
    write_picture(DOCS / "ensembles_picture.png", strip)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
