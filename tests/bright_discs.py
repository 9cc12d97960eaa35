"""Models whose probability of a pixel is its brightness, and pictures for them."""

from functools import partial

import cv2
import numpy as np
import pytest
import torch
import yaml

import segkit

CLASSES = ["background", "cell"]


class Bright(segkit.Segmenter):
    """Gives the brightness as the probability."""

    def forward(self, image, depth=None):
        return torch.logit(image.mean(1, keepdim=True).clamp(0.01, 0.99))


def built(kind, classes=CLASSES, **predict):
    """A model of that class of one map, in fp32, whose parts are never asked."""
    source = segkit.Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=classes)
    found = kind(
        source.backbone,
        source.neck,
        source.head,
        classes=source.classes,
        task="binary",
        background=0,
        reader=source.reader,
        mean=[0] * 3,
        std=[1] * 3,
        architecture=source.architecture,
    ).eval()
    found.about = {
        "trained_on": {"dataset": "discs", "splits": "train"},
        "predict": {"precision": "fp32", **predict},
    }
    return found


@pytest.fixture
def model():
    return partial(built, Bright)


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    """Pictures of a bright disc with a dark dot in it, two bright squares beside it, and its mask."""
    folder = tmp_path_factory.mktemp("postprocessing") / "discs"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    names = [f"d{number:02}" for number in range(14)]
    for number, name in enumerate(names):
        mask = cv2.circle(np.zeros((48, 52), np.uint8), (18 + number, 24), 11, 1, -1)
        grey = 30 + 200 * mask
        grey[22:25, 17 + number : 20 + number] = 30
        grey[:10, : 8 + number % 3] = 230
        grey[39:, 42:] = 230
        cv2.imwrite(str(folder / "images" / f"{name}.png"), np.repeat(grey[..., None], 3, axis=2))
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)
    splits = {"train": names[10:12], "val": names[:10], "test": names[12:], "one": names[:1]}
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"name": "discs", "classes": CLASSES, "splits": splits}))
    return folder
