"""``segkit models``: bridges, counted on a stated pair of backbones."""

import pytest
import torch

from segkit import backbones
from segkit.backbones.bridged import Bridged
from segkit.cli.models import catalogue
from segkit.necks import bridges

STRIDES = (2, 4, 8, 16, 32)
COLOUR, DEPTH = (64, 256, 512, 1024, 2048), (64, 64, 128, 256, 512)  # of a ResNet50 and a ResNet18


@pytest.fixture(scope="module")
def rows():
    parts, _ = catalogue()
    return {row["name"]: row for row in parts["bridges"]}


def test_every_bridge_is_listed_with_the_case_it_was_counted_on(rows):
    assert list(rows) == bridges.names()
    assert {row["counted"] for row in rows.values()} == {"resnet50 with resnet18 for depth, 512×512"}
    assert [row["strides"] for row in rows.values()] == [list(STRIDES)] * 3 + [[16, 32]]


def test_parameters_are_those_of_all_its_levels(rows):
    with torch.device("meta"):
        pair = backbones.create("resnet50"), backbones.create("resnet18", in_channels=2)
        assert [part.channels for part in pair] == [COLOUR, DEPTH]
        for name in ("concat", "se", "gated"):
            built = [bridges.create(name, colour=c, depth=d) for c, d in zip(COLOUR, DEPTH, strict=True)]
            bridged = Bridged(*pair, built)
            assert rows[name]["parameters"] == sum(p.numel() for p in bridged.bridges.parameters())
    assert rows["attention"]["parameters"] < 5_000_000


def test_operations_are_two_for_each_weight_and_pixel(rows):
    gated = sum(
        2 * (512 // stride) ** 2 * (2 * (colour + depth) + colour * depth + colour)
        for stride, colour, depth in zip(STRIDES, COLOUR, DEPTH, strict=True)
    )
    assert rows["gated"]["flops"] == gated
    concat = sum(
        2 * (512 // stride) ** 2 * min(colour, depth) * (9 * (colour + depth + 1) + colour)
        for stride, colour, depth in zip(STRIDES, COLOUR, DEPTH, strict=True)
    )
    assert rows["concat"]["flops"] == concat
