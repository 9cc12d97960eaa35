import cv2
import numpy as np
import pytest

from segkit.pretraining.recipe import PretrainRecipe

SWIN = {"name": "swin", "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}


def draw_colours(folder, *, train=12, val=4, test=0, side=12):
    """Three classes of noisy pictures, each with a colour of its own."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val), ("test", test)):
        if not count:
            continue
        for number, name in enumerate(("blue", "green", "red")):
            (folder / split / name).mkdir(parents=True)
            for image in range(count):
                pixels = rng.integers(0, 120, (side, side, 3), dtype=np.uint8)
                pixels[:, :, number] += 100
                cv2.imwrite(str(folder / split / name / f"{image:02}.png"), pixels)
    return folder


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    return draw_colours(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture
def recipe():
    """A recipe of seconds; sections given are merged into its own."""

    def build(**changes):
        sections = {
            "name": "tiny",
            "data": {"size": 12},
            "model": {"backbone": SWIN},
            "classify": {"label_smoothing": 0.1},
            "train": {"epochs": 2, "batch": 8, "workers": 0, "precision": "fp32", "ema": 0.5},
        }
        for key, value in changes.items():
            merges = isinstance(value, dict) and isinstance(sections.get(key), dict)
            sections[key] = {**sections[key], **value} if merges else value
        return PretrainRecipe.model_validate({key: value for key, value in sections.items() if value is not None})

    return build
