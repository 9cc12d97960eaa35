"""Every neck over every kind of pyramid: what all of them promise."""

import copy

import pytest
import torch

from segkit import necks

PYRAMIDS = {
    "swin": (4, 8, 16, 32),
    "resnet": (2, 4, 8, 16, 32),
    "stem": (1, 2, 4),
    "short": (4, 8, 16),
    "uneven": (1, 2, 4, 12),
    "equal": (2, 4, 4, 8),
    "single": (8,),
}
U_SHAPED = ("unet", "unetplusplus", "attention_unet")
CASES = [(name, p) for name in necks.names() for p in PYRAMIDS if not (name in U_SHAPED and p == "single")]
LEARNING = [case for case in CASES if case[0] != "coarsest"]  # which has no parameters
SIZES = [(64, 64), (33, 47), (97, 130), (1, 1)]


def build(name, strides, *, wide=8):
    """A small neck of that name, and the channels of the levels it expects."""
    torch.manual_seed(0)
    channels = [4 + 2 * i for i in range(len(strides))]
    options = {"fpn": {"width": wide}, "upernet": {"width": wide}, "coarsest": {}}
    return necks.create(name, channels, strides, **options.get(name, {"widths": (wide,) * (len(strides) - 1)}))


def levels_of(strides, size, *, batch=2):
    generator = torch.Generator().manual_seed(1)
    height, width = size
    return [
        torch.randn(batch, 4 + 2 * i, -(-height // stride), -(-width // stride), generator=generator)
        for i, stride in enumerate(strides)
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "pyramid"), CASES)
@torch.no_grad()
def test_channels_and_strides_are_true_at_any_size(name, pyramid, size):
    neck = build(name, PYRAMIDS[pyramid]).eval()
    maps = neck(levels_of(PYRAMIDS[pyramid], size))
    assert len(maps) == len(neck.channels) == len(neck.strides)
    for found, channels, stride in zip(maps, neck.channels, neck.strides, strict=True):
        assert found.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))


@pytest.mark.parametrize(("name", "pyramid"), CASES)
def test_the_main_map_is_at_the_finest_stride_and_coarser_ones_follow_in_order(name, pyramid):
    strides = build(name, PYRAMIDS[pyramid]).strides
    assert strides[0] == PYRAMIDS[pyramid][-1 if name == "coarsest" else 0]
    assert list(strides) == sorted(strides)


@pytest.mark.parametrize(("name", "pyramid"), LEARNING)
def test_every_parameter_learns_from_the_main_map_of_a_single_picture(name, pyramid):
    neck = build(name, PYRAMIDS[pyramid]).train()
    main = neck(levels_of(PYRAMIDS[pyramid], (33, 47), batch=1))[0]
    (main * torch.randn_like(main)).sum().backward()
    assert [key for key, p in neck.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(("name", "pyramid"), CASES)
@torch.no_grad()
def test_copies_state_dicts_autocast_and_channels_last_agree(name, pyramid):
    neck, twin = build(name, PYRAMIDS[pyramid]).eval(), build(name, PYRAMIDS[pyramid]).eval()
    for parameter in twin.parameters():
        parameter.zero_()
    twin.load_state_dict(neck.state_dict())
    levels = levels_of(PYRAMIDS[pyramid], (33, 47))
    expected = neck(levels)
    for other in (twin, copy.deepcopy(neck)):
        assert all(torch.equal(a, b) for a, b in zip(other(levels), expected, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = neck(levels)
    last = neck.to(memory_format=torch.channels_last)([x.to(memory_format=torch.channels_last) for x in levels])
    for reference, a, b in zip(expected, rounded, last, strict=True):
        torch.testing.assert_close(a.float(), reference, atol=0.1, rtol=0.1)
        torch.testing.assert_close(b, reference, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", necks.names())
@torch.no_grad()
def test_compiled_and_exported_agree(name):
    neck, levels = build(name, PYRAMIDS["uneven"]).eval(), levels_of(PYRAMIDS["uneven"], (33, 47))
    expected = neck(levels)
    compiled = torch.compile(neck, fullgraph=True, backend="aot_eager")(levels)
    exported = torch.export.export(neck, (levels,)).module()(levels)
    for reference, a, b in zip(expected, compiled, exported, strict=True):
        torch.testing.assert_close(a, reference, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(b, reference, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", U_SHAPED)
def test_one_level_is_nothing_to_join(name):
    with pytest.raises(ValueError, match="got one level of stride 8; a U-Net joins two or more"):
        necks.create(name, (8,), (8,))
