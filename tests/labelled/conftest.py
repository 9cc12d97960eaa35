"""Small labelled images, written as users have them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw():
    """Write an image of one value, or of given pixels, and give its path."""

    def written(path: Path, pixels=0, size=(6, 8)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if np.isscalar(pixels):
            pixels = np.full((*size, 3), pixels, np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return written


@pytest.fixture
def pets(tmp_path, draw):
    """Twenty cats and ten dogs in a folder for each."""
    folder = tmp_path / "pets"
    for name, count in (("dog", 10), ("cat", 20)):
        for number in range(count):
            draw(folder / name / f"{number:02}.png", number)
    return folder
