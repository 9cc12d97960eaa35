"""The stem: full- and half-resolution maps, alone or in front of a backbone."""

import pytest
import torch

from segkit import backbones
from segkit.backbones.backbone import Backbone
from segkit.backbones.stem import Stem, Stemmed
from segkit.backbones.swin import Swin


class TwoModalities(Backbone):
    """Returns what it is given, at half the size."""

    channels, strides, modalities = (3,), (2,), ("image", "depth")

    @property
    def stages(self):
        return []

    def forward(self, image, depth=None):
        return [(image if depth is None else image + depth)[..., ::2, ::2]]


def small_swin(**options):
    return Swin(embed_dim=8, depths=(1, 1), heads=(1, 2), window=3, **options)


@pytest.mark.parametrize("size", [(33, 47), (97, 130), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3, 4])
@torch.no_grad()
def test_swin_gains_strides_one_and_two(size, channels):
    stemmed = Stemmed(small_swin(in_channels=channels), in_channels=channels, width=4).eval()
    assert stemmed.strides == (1, 2, 4, 8)
    assert stemmed.channels == (4, 8, 8, 16)
    for level, width, stride in zip(
        stemmed(torch.randn(1, channels, *size)), stemmed.channels, stemmed.strides, strict=True
    ):
        assert level.shape == (1, width, -(-size[0] // stride), -(-size[1] // stride))


def test_resnet_gains_stride_one():
    with torch.device("meta"):
        assert Stemmed(backbones.create("resnet18")).strides == (1, 2, 4, 8, 16, 32)


def test_the_backbones_levels_pass_unchanged():
    swin = small_swin().eval()
    image = torch.randn(1, 3, 33, 47)
    with torch.no_grad():
        levels = Stemmed(swin, width=4).eval()(image)
        assert all(torch.equal(a, b) for a, b in zip(levels[2:], swin(image), strict=True))


def test_stages_nest():
    stemmed = Stemmed(small_swin(), width=4)
    assert stemmed.stages == [*stemmed.stem.stages, *stemmed.backbone.stages]
    assert {name.split(".")[0] for name, _ in stemmed.named_parameters()} == {"stem", "backbone"}


def test_depth_goes_to_the_backbone_alone():
    stemmed = Stemmed(TwoModalities(), width=4).eval()
    assert stemmed.modalities == ("image", "depth")
    image = torch.randn(1, 3, 8, 8)
    plain, deep = stemmed(image), stemmed(image, torch.ones(1, 3, 8, 8))
    assert torch.equal(plain[0], deep[0])
    assert torch.equal(plain[1] + 1, deep[1])


def test_alone_it_is_a_backbone_of_strides_one_and_two():
    stem = backbones.create("stem", in_channels=1, width=4)
    assert (stem.channels, stem.strides) == ((4, 8), (1, 2))
    assert [tuple(level.shape) for level in stem(torch.randn(2, 1, 5, 7))] == [(2, 4, 5, 7), (2, 8, 3, 4)]
    assert len(backbones.create("stem", levels=(0,)).stages) == 1


def test_every_parameter_learns():
    stem = Stem(width=4)
    sum((level**2).sum() for level in stem(torch.randn(2, 3, 9, 11))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in stem.parameters())


def test_compiles_as_one_graph():
    stemmed = Stemmed(small_swin(), width=4).eval()
    image = torch.randn(1, 3, 33, 47)
    with torch.no_grad():
        for level, reference in zip(
            torch.compile(stemmed, fullgraph=True, backend="aot_eager")(image), stemmed(image), strict=True
        ):
            torch.testing.assert_close(level, reference, atol=1e-5, rtol=1e-5)


def test_nothing_goes_before_stride_one_or_three():
    with pytest.raises(ValueError, match="finest stride is 1; a stem goes before strides 2, 4, 8"):
        Stemmed(Stem())
    with pytest.raises(ValueError, match="finest stride is 3"):
        Stemmed(small_swin(patch_size=3))


def test_width_must_be_positive():
    with pytest.raises(ValueError, match="width is 0 and depth 2; expected 1 or more"):
        Stem(width=0)
