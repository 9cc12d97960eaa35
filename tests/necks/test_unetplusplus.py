"""U-Net++: the grid of nodes, with segmentation-models-pytorch's values."""

import pytest
import torch
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder

from segkit.necks.unetplusplus import UNetPlusPlus

CHANNELS, STRIDES = (4, 6, 8, 10), (2, 4, 8, 16)


@torch.no_grad()
def test_values_are_those_of_segmentation_models_pytorch():
    torch.manual_seed(0)
    # Its inner nodes are as wide as the encoder's levels; so are all of ours here, to be comparable.
    peer = UnetPlusPlusDecoder((3, *CHANNELS), (8, 6, 4, 4), n_blocks=4, interpolation_mode="bilinear").eval()
    neck = UNetPlusPlus(CHANNELS, STRIDES, widths=CHANNELS[:-1]).eval()
    nodes = {}
    for i, row in enumerate(neck.rows):
        for j, node in enumerate(row.nodes, start=1):
            name = f"x_{len(row.nodes) - j}_{2 - i}"  # the peer counts rows from the coarsest, columns from the last
            block = peer.blocks[name]
            convolutions = (block.conv1, block.conv2)
            state = [values for part in convolutions for values in part.state_dict().values()]
            node.load_state_dict(dict(zip(node.state_dict(), state, strict=True)))
            block.register_forward_hook(lambda _block, _inputs, output, name=name: nodes.update({name: output}))

    levels = [torch.randn(2, c, 48 // s, 64 // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    peer([torch.empty(0), *levels])
    expected = [nodes[name] for name in ("x_0_2", "x_1_2", "x_2_2", "x_0_1", "x_0_0")]
    for own, other in zip(neck(levels), expected, strict=True):
        torch.testing.assert_close(own, other)


def test_the_finest_row_comes_first_then_each_row_s_last_node():
    neck = UNetPlusPlus(CHANNELS, STRIDES, widths=(5, 6, 7))
    assert neck.channels == (5, 5, 5, 6, 7)
    assert neck.strides == (2, 2, 2, 4, 8)


def test_widths_follow_the_strides():
    assert UNetPlusPlus((1,) * 4, (4, 8, 16, 32)).channels == (64, 64, 64, 128, 256)


@torch.no_grad()
def test_a_node_knows_only_of_what_is_left_of_it():
    """The finest row's first node joins two levels; coarser ones don't reach it."""
    neck = UNetPlusPlus(CHANNELS, STRIDES, widths=(4, 4, 4)).eval()
    levels = [torch.randn(1, c, 48 // s, 64 // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    changed = [*levels[:2], torch.zeros_like(levels[2]), levels[3]]
    main, second, first, *_ = (torch.equal(a, b) for a, b in zip(neck(levels), neck(changed), strict=True))
    assert (main, second, first) == (False, False, True)


def test_a_wrong_number_of_widths_is_said():
    with pytest.raises(ValueError, match=r"widths is \[8\]; expected 3, one per level but the coarsest"):
        UNetPlusPlus(CHANNELS, STRIDES, widths=(8,))
