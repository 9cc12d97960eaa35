"""SqueezeNet: torchvision's values on a grid that begins at the image's corner."""

import torch
import torch.nn.functional as F
import torchvision

from segkit import backbones

PADDING = 15  # theirs answers at 2o + 1, 4o + 3, 8o + 7 and 16o + 15


@torch.no_grad()
def test_levels_agree_with_torchvision_away_from_borders(assert_same_interior):
    torch.manual_seed(0)
    peer = torchvision.models.squeezenet1_1(weights=None).eval()
    squeezenet = backbones.create("squeezenet1_1", weights=peer.state_dict()).eval()
    image = torch.randn(1, 3, 289, 307)
    x, theirs = F.pad(image, (PADDING, 0, PADDING, 0)), []
    for i, layer in enumerate(peer.features):
        x = layer(x)
        if i in (1, 4, 7, 12):
            theirs.append(x)
    for ours, level, stride in zip(squeezenet(image), theirs, squeezenet.strides, strict=True):
        shift = (PADDING - (stride - 1)) // stride
        assert_same_interior(ours, level, shift=shift, margin=7)
