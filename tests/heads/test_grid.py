"""Every head on maps of every stride: what all of them promise."""

import copy

import pytest
import torch

from segkit import heads

STRIDES = [1, 2, 3, 4, 8, 12]


def build(name, stride):
    torch.manual_seed(0)
    return heads.create(name, 16, stride, 3, **({} if name == "linear" else {"width": 8}))


def level_of(stride, size, *, batch=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 16, -(-size[0] // stride), -(-size[1] // stride), generator=generator)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("size", [(1, 1), (24, 24), (33, 47)])
@pytest.mark.parametrize("name", heads.names())
@torch.no_grad()
def test_logits_have_the_images_size(name, stride, size):
    assert build(name, stride).eval()([level_of(stride, size)], size).shape == (2, 3, *size)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", heads.names())
@torch.no_grad()
def test_an_image_s_top_left_is_not_moved_by_where_it_ends(name, stride):
    """The same map of a picture that ends one pixel earlier: its logits are the same, but near the border."""
    head, whole = build(name, stride).eval(), (24 * stride, 24 * stride)
    level, cut = level_of(stride, whole), (whole[0] - stride + 1, whole[1] - stride + 1)
    near = 16 * stride
    torch.testing.assert_close(head([level], cut)[..., :near, :near], head([level], whole)[..., :near, :near])


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", heads.names())
@torch.no_grad()
def test_logits_lie_where_their_features_do(name, stride):
    """Of a single bright pixel, what rises in the logits has its centre of mass in that pixel's middle."""
    head, size = build(name, stride).eval(), (17 * stride, 17 * stride)
    level = torch.zeros(1, 16, 17, 17)
    level[..., 8, 8] = 1
    # The same weight for all neighbours: what a convolution prefers isn't asked here.
    for part in head.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.weight.copy_(part.weight.abs().mean((2, 3), keepdim=True).expand_as(part.weight))
        elif isinstance(part, torch.nn.ConvTranspose2d):
            part.weight.abs_()
    risen = head([level], size)[0, 0] - head([torch.zeros_like(level)], size)[0, 0]
    places = torch.arange(size[0]) + 0.5
    assert float((risen.sum(0) * places).sum() / risen.sum()) == pytest.approx(8.5 * stride, rel=1e-4)
    assert float((risen.sum(1) * places).sum() / risen.sum()) == pytest.approx(8.5 * stride, rel=1e-4)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", heads.names())
def test_every_parameter_learns_from_a_single_picture(name, stride):
    head = build(name, stride).train()
    logits = head([level_of(stride, (33, 47), batch=1)], (33, 47))
    (logits * torch.randn_like(logits)).sum().backward()
    assert [key for key, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("name", heads.names())
@torch.no_grad()
def test_copies_state_dicts_autocast_channels_last_compiled_and_exported_agree(name):
    head, twin, size = build(name, 12).eval(), build(name, 12).eval(), (33, 47)
    for parameter in twin.parameters():
        parameter.zero_()
    twin.load_state_dict(head.state_dict())
    level = level_of(12, size)
    expected = head([level], size)
    assert torch.equal(twin([level], size), expected)
    assert torch.equal(copy.deepcopy(head)([level], size), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(head([level], size).float(), expected, atol=0.1, rtol=0.1)
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled([level], size), expected, atol=1e-5, rtol=1e-5)
    exported = torch.export.export(head, ([level], size)).module()
    torch.testing.assert_close(exported([level], size), expected, atol=1e-5, rtol=1e-5)
    last = head.to(memory_format=torch.channels_last)([level.to(memory_format=torch.channels_last)], size)
    torch.testing.assert_close(last, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", heads.names())
@torch.no_grad()
def test_only_the_first_level_is_read(name):
    head, level = build(name, 2).eval(), level_of(2, (8, 8))
    assert torch.equal(head([level, torch.empty(0)], (8, 8)), head([level], (8, 8)))


@pytest.mark.parametrize("name", heads.names())
def test_nothing_less_than_one(name):
    with pytest.raises(ValueError, match=r"channels, stride.*classes.* are \(4, 0, 2.*\); expected 1 or more"):
        heads.create(name, 4, 0, 2)
