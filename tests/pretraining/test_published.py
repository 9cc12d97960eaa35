"""The shipped recipes against what is published of the networks and their training."""

import pytest
import torch

from segkit import Classifier
from segkit.pretraining.recipe import PretrainRecipe
from segkit.recipe_file import load_as

CIFAR10 = {
    "classes": 10,
    "size": 32,
    "levels": [(96, 16, 16), (192, 8, 8), (384, 4, 4)],
    "heads": [3, 6, 12],
    "depths": [2, 6, 4],
    "drop_path": [0.0, 0.0182, 0.0364, 0.0545, 0.0727, 0.0909, 0.1091, 0.1273, 0.1455, 0.1636, 0.1818, 0.2],
    "patch": 2,
    "window": 4,
    "mlp": 2,
}
TINY_IMAGENET = {
    "classes": 200,
    "size": 64,
    "levels": [(96, 16, 16), (192, 8, 8), (384, 4, 4), (768, 2, 2)],
    "heads": [2, 4, 8, 16],
    "depths": [2, 2, 6, 2],
    "drop_path": [0.0, 0.0182, 0.0364, 0.0545, 0.0727, 0.0909, 0.1091, 0.1273, 0.1455, 0.1636, 0.1818, 0.2],
    "patch": 4,
    "window": 7,
    "mlp": 4,
}
TABLE = {"swin_cifar10": CIFAR10, "swin_tiny_imagenet": TINY_IMAGENET}


def counted(row):
    """Parameters by the paper's formulas: embedding, blocks, merging, norm and classes."""
    widths = [level[0] for level in row["levels"]]
    total = row["patch"] ** 2 * 3 * widths[0] + widths[0] + 2 * widths[0]
    for stage, (width, heads, depth) in enumerate(zip(widths, row["heads"], row["depths"], strict=True)):
        attention = 4 * width**2 + 4 * width + (2 * row["window"] - 1) ** 2 * heads
        mlp = 2 * row["mlp"] * width**2 + (row["mlp"] + 1) * width
        total += depth * (attention + mlp + 2 * 2 * width)
        if stage:
            total += 2 * 4 * widths[stage - 1] + 4 * widths[stage - 1] * width
    return total + 2 * widths[-1] + widths[-1] * row["classes"] + row["classes"]


@pytest.fixture(params=TABLE)
def shipped(request):
    recipe, row = load_as(PretrainRecipe, request.param), TABLE[request.param]
    torch.manual_seed(0)
    backbone = recipe.model.backbone.model_dump()
    return recipe, row, Classifier.create(backbone, classes=row["classes"], in_channels=recipe.data.channels)


def test_its_levels_heads_and_depths_are_the_published_ones(shipped):
    recipe, row, classifier = shipped
    assert recipe.data.shape == (row["size"], row["size"])
    with torch.no_grad():
        levels = classifier.backbone(torch.rand(1, 3, *recipe.data.shape))
    assert [tuple(level.shape[1:]) for level in levels] == row["levels"]
    blocks = [
        [module for module in stage.modules() if type(module).__name__ == "Block"]
        for stage in classifier.backbone.stages
    ]
    blocks = [stage for stage in blocks if stage]
    assert [len(stage) for stage in blocks] == row["depths"]
    assert [{block.attention.heads for block in stage} for stage in blocks] == [{heads} for heads in row["heads"]]
    assert {block.attention.window for stage in blocks for block in stage} == {row["window"]}


def test_drop_path_rises_block_by_block_and_is_on_while_training(shipped):
    recipe, row, classifier = shipped
    rates = [module.rate for module in classifier.modules() if type(module).__name__ == "DropPath"]
    assert rates == pytest.approx(row["drop_path"], abs=5e-5)
    image = torch.rand(4, 3, *recipe.data.shape)
    with torch.no_grad():
        classifier.train()
        assert not torch.equal(classifier(image), classifier(image))
        classifier.eval()
        assert torch.equal(classifier(image), classifier(image))


def test_its_parameters_are_as_many_as_published(shipped):
    _, row, classifier = shipped
    assert sum(parameter.numel() for parameter in classifier.parameters()) == counted(row)
    if row is CIFAR10:
        assert counted(row) == 7_048_612


def test_it_is_trained_as_published(shipped):
    train = shipped[0].train
    assert (train.learning_rate, train.betas, train.clip, train.weight_decay) == (3e-4, (0.9, 0.999), 3.0, 0.05)
    assert (train.epochs, train.schedule) == (200, "cosine")
    assert train.warmup * train.epochs == pytest.approx(10)
