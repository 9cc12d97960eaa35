"""The upsampling head: logits of the image's size from any stride, on the same top-left grid."""

import copy

import pytest
import torch

from segkit.heads.upsample import UpsampleHead


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8, 12])
@pytest.mark.parametrize("size", [(1, 1), (24, 24), (33, 47)])
@torch.no_grad()
def test_logits_have_the_images_size(stride, size):
    head = UpsampleHead(32, stride, 5).eval()
    level = torch.randn(2, 32, -(-size[0] // stride), -(-size[1] // stride))
    assert head([level], size).shape == (2, 5, *size)


@pytest.mark.parametrize(
    ("channels", "stride", "widths"), [(128, 4, [64, 32]), (32, 8, [16, 16, 16]), (64, 1, [32]), (8, 3, [16])]
)
def test_channels_halve_with_each_doubling_down_to_the_width(channels, stride, widths):
    head = UpsampleHead(channels, stride, 2, width=16)
    assert [step[0].out_channels for step in head.steps] == widths
    assert head.classify.in_channels == widths[-1]


@torch.no_grad()
def test_values_through_identity_convolutions():
    head = UpsampleHead(1, 2, 1, width=1).eval()
    torch.nn.init.dirac_(head.steps[0][0].weight)
    torch.nn.init.ones_(head.classify.weight)
    torch.nn.init.zeros_(head.classify.bias)
    row = torch.tensor([0.0, 4.0, 8.0]).view(1, 1, 1, 3)
    assert head([row], (1, 5)).flatten().tolist() == pytest.approx([0, 1, 3, 5, 7], rel=1e-4)


@torch.no_grad()
def test_an_odd_rest_enlarges_the_logits():
    head = UpsampleHead(4, 3, 2).eval()
    level = torch.randn(1, 4, 4, 4)
    small = head.classify(head.steps[0](level))
    expected = torch.nn.functional.interpolate(small, scale_factor=3, mode="bilinear", align_corners=False)
    torch.testing.assert_close(head([level], (10, 11)), expected[..., :10, :11])


def test_only_the_first_level_is_read():
    head = UpsampleHead(4, 2, 2).eval()
    level = torch.randn(1, 4, 4, 4)
    assert torch.equal(head([level, torch.empty(0)], (8, 8)), head([level], (8, 8)))


def test_every_parameter_learns():
    head = UpsampleHead(16, 4, 3, width=4)
    (head([torch.randn(2, 16, 5, 6)], (17, 23)) ** 2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


@torch.no_grad()
def test_copies_state_dicts_compiled_and_autocast_agree():
    head, twin = UpsampleHead(16, 4, 3).eval(), UpsampleHead(16, 4, 3).eval()
    twin.load_state_dict(head.state_dict())
    level, size = torch.randn(2, 16, 5, 6), (17, 23)
    expected = head([level], size)
    assert torch.equal(twin([level], size), expected)
    assert torch.equal(copy.deepcopy(head)([level], size), expected)
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled([level], size), expected, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(head([level], size).float(), expected, atol=0.1, rtol=0.1)


def test_nothing_less_than_one():
    with pytest.raises(ValueError, match=r"stride, classes and width are \(4, 0, 2, 16\); expected 1 or more"):
        UpsampleHead(4, 0, 2)
