"""The linear head: a weighted sum of features, enlarged by the stride."""

import pytest
import torch

from segkit.heads.linear import LinearHead


@torch.no_grad()
def test_values_by_hand():
    head = LinearHead(2, 2, 1)
    head.classify.weight.copy_(torch.tensor([1.0, -2.0]).view(1, 2, 1, 1))
    head.classify.bias.fill_(3)
    first, second = torch.tensor([0.0, 4.0, 8.0]), torch.tensor([0.0, 0.0, 2.0])
    level = torch.stack([first, second]).view(1, 2, 1, 3)
    # Logits 3, 7, 7 of the map; twice as fine each lies a quarter from its own pixel's middle. The last is cropped.
    assert head([level], (1, 5)).flatten().tolist() == pytest.approx([3, 4, 6, 7, 7])
