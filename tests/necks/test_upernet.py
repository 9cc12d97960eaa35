"""UPerNet: parity with segmentation-models-pytorch's, and a context that single pictures survive."""

import pytest
import torch
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import nn

from segkit.necks.upernet import BinMeans, PyramidPooling, UPerNet

CHANNELS, STRIDES = (6, 8, 10, 12), (4, 8, 16, 32)


def randomise(module):
    """Statistics and weights of every norm as after some training."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.weight.data, part.running_var):
                values.uniform_(0.5, 2)
            for values in (part.bias.data, part.running_mean):
                values.normal_()


def folded(block):
    """Weight and bias of one convolution that is the block's convolution with its norm behind it."""
    convolution, norm = block[0], block[1]
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    return convolution.weight * gain.view(-1, 1, 1, 1), norm.bias - norm.running_mean * gain


@torch.no_grad()
def test_values_are_those_of_segmentation_models_pytorch():
    torch.manual_seed(0)
    peer = UPerNetDecoder((3, 4, *CHANNELS), encoder_depth=5, decoder_channels=16).eval()
    randomise(peer)
    peer.feature_norms = nn.ModuleList(nn.Identity() for _ in CHANNELS)  # of its own; the paper has none
    neck = UPerNet(CHANNELS, STRIDES, width=16).eval()
    for own, other in zip(neck.context.bins, peer.psp.blocks, strict=True):
        weight, bias = folded(other[1])  # the peer's bins have a norm
        own[1].load_state_dict({"weight": weight, "bias": bias})
    neck.context.merge.load_state_dict(peer.psp.out_conv.state_dict())
    for own, lateral, smooth in zip(
        range(3), reversed(peer.fpn_lateral_blocks), reversed(peer.fpn_conv_blocks), strict=True
    ):
        neck.lateral[own].load_state_dict(lateral.conv_norm_relu.state_dict())
        neck.smooth[own].load_state_dict(smooth.state_dict())
    neck.fuse.load_state_dict(peer.fusion_block.state_dict())

    levels = [torch.randn(2, c, 192 // s, 256 // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    torch.testing.assert_close(neck(levels)[0], peer([torch.empty(0), torch.empty(0), *levels]))


@torch.no_grad()
def test_context_is_the_mean_of_the_whole_map_and_of_its_parts():
    context = PyramidPooling(1, 1).eval()
    seen = []
    context.merge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for mean in context.bins:
        nn.init.ones_(mean[1].weight)
        nn.init.zeros_(mean[1].bias)
    x = torch.arange(36.0).view(1, 1, 6, 6)
    context(x)
    own, whole, halves, thirds, sixths = seen[0][0]
    assert torch.equal(own, x[0, 0])
    torch.testing.assert_close(whole, torch.full((6, 6), 17.5))
    assert halves[0, 0] == pytest.approx((0 + 1 + 2 + 6 + 7 + 8 + 12 + 13 + 14) / 9)
    assert thirds[-1, -1] == pytest.approx((28 + 29 + 34 + 35) / 4)
    torch.testing.assert_close(sixths, x[0, 0])


def test_how_far_two_pictures_differ_is_not_normalised_away_while_training():
    pooled = PyramidPooling(3, 4).train().bins[0]
    nn.init.ones_(pooled[1].weight)
    low, high = torch.full((1, 3, 5, 5), 1.0), torch.full((1, 3, 5, 5), 1.5)
    (near, far) = pooled(torch.cat([low, high])), pooled(torch.cat([low, 2 * high]))
    torch.testing.assert_close(near[1] - near[0], torch.full((4, 1, 1), 1.5))
    torch.testing.assert_close(far[1] - far[0], torch.full((4, 1, 1), 6.0))


@pytest.mark.parametrize("size", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (6, 12), (17, 5)])
def test_bins_are_those_of_adaptive_average_pooling(size, shape):
    x = torch.randn(2, 3, *shape)
    torch.testing.assert_close(BinMeans(size)(x), nn.functional.adaptive_avg_pool2d(x, size))
    half = x.bfloat16()
    assert BinMeans(size)(half).dtype == torch.bfloat16
