import pytest

from segkit.data.synthetic import draw_cells
from segkit.recipe import Recipe

PART = {"backbone": {"name": "stem", "width": 4}, "neck": {"name": "unet", "widths": [4]}}


@pytest.fixture(scope="session")
def cells(tmp_path_factory):
    return draw_cells(tmp_path_factory.mktemp("data") / "cells", images=12, size=48)


@pytest.fixture
def recipe():
    def build(*, members=("first", "second"), train=None, **changes):
        return Recipe.model_validate(
            {
                "name": "tiny",
                "ensemble": {"members": [{"name": name, **PART} for name in members]},
                "data": {"crop": 32, "augment": "light"},
                "train": {"epochs": 2, "batch": 4, "workers": 0, "precision": "fp32", "ema": 0.5, **(train or {})},
                "predict": {"tile": 32},
                **changes,
            }
        )

    return build
