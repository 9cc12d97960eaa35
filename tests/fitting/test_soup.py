"""Greedy soups: their weights are means, they are never worse, and strangers aren't mixed."""

import shutil
from pathlib import Path

import cv2
import pytest
import torch

import segkit
from segkit.data.folder import open_dataset
from segkit.data.synthetic import draw_cells
from segkit.errors import UsageError
from segkit.fitting.soup import _average, soup

PART = {"backbone": {"name": "stem", "width": 4}, "neck": {"name": "unet", "widths": [4]}}


def cell_model(seed, *, ancestor="same", **options):
    torch.manual_seed(seed)
    model = segkit.Segmenter.create(**{**PART, **options}, classes=["background", "cell"]).eval()
    trained = {"dataset": "cells", "splits": "train"}
    model.about = {"ancestor": ancestor, "trained_on": trained, "predict": {"tile": 32}}
    return model


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return draw_cells(tmp_path_factory.mktemp("soup") / "cells", images=10, size=48)


def test_a_soup_is_the_mean_of_what_is_kept_and_never_worse_than_the_best(cells):
    models = {f"m{seed}": cell_model(seed) for seed in range(3)}
    made = soup(models, cells)
    best = max(made.scores.values())
    assert made.whole >= best
    for name, parameter in made.model.named_parameters():
        of_kept = [dict(models[each].named_parameters())[name] for each in made.kept]
        torch.testing.assert_close(parameter, torch.stack(of_kept).mean(0))
    again = segkit.evaluate(made.model, cells, "val").metrics["pooled"]["per_class"]["cell"]["dice"]
    assert again == pytest.approx(made.whole, nan_ok=True)


def test_equal_models_make_the_same_model_again(cells):
    first = cell_model(0)
    made = soup({"a": first, "b": cell_model(0)}, cells)
    assert made.kept == ("a", "b")
    for name, parameter in made.model.named_parameters():
        torch.testing.assert_close(parameter, dict(first.named_parameters())[name])


def test_norms_of_what_sees_depth_are_measured_with_it(cells):
    depth = {"depth": {"name": "stem", "width": 4}, "encoding": {"name": "metres", "per_picture": True}}
    models = [cell_model(seed, **depth) for seed in range(2)]
    for norm in (each for each in models[1].modules() if isinstance(each, torch.nn.BatchNorm2d)):
        norm.running_mean.fill_(1.0)
    mixed = _average(models, open_dataset(cells))
    for name, parameter in mixed.named_parameters():
        both = torch.stack([dict(each.named_parameters())[name] for each in models])
        torch.testing.assert_close(parameter, both.mean(0))
    norms = [each for each in mixed.backbone.depth.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        assert int(norm.num_batches_tracked) > 0
        assert bool((norm.running_mean != 0.5).all())


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"ancestor": "another"}, "b and a share no ancestor: they began with different weights"),
        ({"neck": {"name": "unet", "widths": [8]}}, "b and a are of different architectures"),
    ],
)
def test_strangers_make_no_soup(cells, second, message):
    with pytest.raises(UsageError, match=message):
        soup({"a": cell_model(0), "b": cell_model(1, **second)}, cells)


def test_what_is_not_known_to_be_related_is_refused(cells):
    stranger = cell_model(1)
    del stranger.about["ancestor"]
    with pytest.raises(UsageError, match="b: it isn't recorded what weights it began with"):
        soup({"a": cell_model(0), "b": stranger}, cells)
    with pytest.raises(UsageError, match="at least two models"):
        soup({"a": cell_model(0)}, cells)


def test_a_split_with_nothing_to_find_is_refused(cells, tmp_path):
    empty = Path(shutil.copytree(cells, tmp_path / "cells"))
    for stem in open_dataset(empty).splits["val"]:
        path = empty / "masks" / f"{stem}.png"
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED) * 0)
    models = {f"m{seed}": cell_model(seed) for seed in range(2)}
    for parameter in models["m1"].head.parameters():
        parameter.data.fill_(-1e3)  # draws nothing, and so is right
    with pytest.raises(UsageError, match=r"m1: Dice of cell, pooled is undefined on split 'val', which has nothing"):
        soup(models, empty)


def test_the_split_trained_on_is_refused(cells):
    with pytest.raises(UsageError, match="a was trained on split 'train' of cells"):
        soup({"a": cell_model(0), "b": cell_model(1)}, cells, "train")
