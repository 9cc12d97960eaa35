"""DenseNet: torchvision's values after each block's norm."""

import pytest
import torch
import torchvision

from segkit import backbones


@pytest.fixture(scope="module")
def peer():
    torch.manual_seed(0)
    return torchvision.models.densenet121(weights=None).eval()


@torch.no_grad()
def test_levels_agree_with_torchvision_given_the_same_weights(peer):
    densenet = backbones.create("densenet121", weights=peer.state_dict()).eval()
    image = torch.randn(1, 3, 64, 96)
    f = peer.features
    x = f.relu0(f.norm0(f.conv0(image)))
    theirs, x = [x.clone()], f.pool0(x)
    for block, transition in (
        (f.denseblock1, f.transition1),
        (f.denseblock2, f.transition2),
        (f.denseblock3, f.transition3),
    ):
        x = block(x)
        theirs.append(transition.norm(x).relu())
        x = transition(x)
    theirs.append(f.norm5(f.denseblock4(x)).relu())
    assert all(torch.equal(ours, level) for ours, level in zip(densenet(image), theirs, strict=True))


@torch.no_grad()
def test_weights_named_as_in_the_published_files_are_understood(peer):
    published = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.") if "denselayer" in key else key: value
        for key, value in peer.state_dict().items()
    }
    assert published.keys() != peer.state_dict().keys()
    densenet = backbones.create("densenet121", weights=published)
    block = densenet.layers[2].denseblock2.denselayer3
    assert torch.equal(block.conv2.weight, peer.features.denseblock2.denselayer3.conv2.weight)


@torch.no_grad()
def test_a_last_row_without_partner_is_averaged_alone():
    densenet = backbones.create("densenet121", levels=(0, 1, 2))
    pool = densenet.layers[2].transition1_pool
    assert pool(torch.tensor([[[[1.0, 3.0, 5.0]]]])).tolist() == [[[[2.0, 5.0]]]]
