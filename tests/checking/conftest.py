import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from segkit.data.synthetic import draw_cells


class Cells:
    """A small drawn dataset that tests spoil: train of 8, val of 2, test of 2 pictures of 64 × 64, masks of 0 and 1."""

    def __init__(self, path):
        self.path = path
        self.description = yaml.safe_load((path / "dataset.yaml").read_text())
        self.train, self.val, self.test = (self.description["splits"][split] for split in ("train", "val", "test"))
        shutil.rmtree(path / "depth")
        self.describe(depth_unit=None)

    def describe(self, **changes):
        self.description = {k: v for k, v in {**self.description, **changes}.items() if v is not None}
        (self.path / "dataset.yaml").write_text(yaml.safe_dump(self.description, sort_keys=False))

    def image(self, name):
        return cv2.imread(str(self.path / "images" / f"{name}.png"))[..., ::-1]

    def mask(self, name):
        return cv2.imread(str(self.path / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED)

    def write(self, file, pixels, *options):
        pixels = np.asarray(pixels)
        path = self.path / file
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels, options)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    return draw_cells(tmp_path_factory.mktemp("drawn") / "cells", images=12, size=64)


@pytest.fixture
def cells(drawn, tmp_path):
    return Cells(Path(shutil.copytree(drawn, tmp_path / "cells")))


@pytest.fixture
def found():
    """What a check finds, as {kind: [place, ...]}."""
    from segkit.checking.run import check

    def places(path, *, notes=False):
        findings = check(path).findings
        kept = [one for one in findings if notes or one.severity != "note"]
        return {one.kind: [str(place) for place in one.places] for one in kept}

    return places
