"""Depth as further channels of the image."""

import copy

import pytest
import torch

from segkit.backbones.stacked import Stacked
from segkit.backbones.stem import Stem


def stacked():
    torch.manual_seed(0)
    return Stacked(Stem(in_channels=5, width=4), depth_channels=2)


def inputs(present=(True, False)):
    generator = torch.Generator().manual_seed(1)
    image, values, valid = (torch.rand(len(present), c, 33, 47, generator=generator) for c in (3, 1, 1))
    here = torch.tensor(present).view(-1, 1, 1, 1)
    return image, torch.cat([torch.where(here, values, torch.nan), (valid > 0.5) * here], dim=1)


@torch.no_grad()
def test_image_and_depth_are_one_picture():
    both, (image, depth) = stacked().eval(), inputs((True, True))
    assert (both.channels, both.strides, both.modalities) == ((4, 8), (1, 2), ("image", "depth"))
    expected = both.backbone(torch.cat([image, depth], dim=1))
    assert all(torch.equal(a, b) for a, b in zip(both(image, depth), expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(copy.deepcopy(both)(image, depth), expected, strict=True))


@torch.no_grad()
def test_absent_pictures_and_no_depth_are_zeros():
    both, (image, depth) = stacked().eval(), inputs()
    found, without = both(image, depth), both(image)
    blank = both.backbone(torch.cat([image, torch.zeros(2, 2, 33, 47)], dim=1))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(found, blank, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(without, blank, strict=True))
    assert not torch.equal(found[0][0], blank[0][0])
    absent = both(image, torch.full_like(depth, torch.nan).index_fill(1, torch.tensor([1]), 0))
    assert all(torch.equal(a, b) for a, b in zip(absent, without, strict=True))


@torch.no_grad()
def test_compiled_and_exported_agree():
    both, (image, depth) = stacked().eval(), inputs()
    for given in ((image, depth), (image,)):
        expected = both(*given)
        compiled = torch.compile(both, fullgraph=True, backend="aot_eager")(*given)
        exported = torch.export.export(both, given).module()(*given)
        for reference, a, b in zip(expected, compiled, exported, strict=True):
            torch.testing.assert_close(a, reference, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(b, reference, atol=1e-5, rtol=1e-5)


def test_stages_trunks_and_freezing_are_the_backbone_s():
    both = stacked()
    assert both.stages == both.backbone.stages
    assert both.trunks == [both.backbone]
    both.freeze(1)
    assert [p.requires_grad for p in both.backbone.layers[0].parameters()] == [False] * 6
    assert all(p.requires_grad for p in both.backbone.layers[1].parameters())


def test_every_parameter_learns():
    both, (image, depth) = stacked(), inputs()
    sum((level**2).sum() for level in both(image, depth)).backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in both.parameters())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="depth_channels is 1; expected 2 or more, values and validity"):
        Stacked(Stem(in_channels=4), depth_channels=1)
    with pytest.raises(ValueError, match="the backbone sees image and depth; expected the image alone"):
        Stacked(stacked(), depth_channels=2)
    message = r"got depth \[1, 3, 4, 4\] for images \[1, 3, 4, 4\]; expected \[1, 2, 4, 4\]"
    with pytest.raises(ValueError, match=message):
        stacked()(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))
