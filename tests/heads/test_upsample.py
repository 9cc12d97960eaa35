"""The upsampling head: logits of the image's size from any stride, on the same top-left grid."""

import pytest
import torch

import segkit
from segkit.heads.upsample import UpsampleHead
from segkit.recipe_file import load_recipe

CLASSIC = load_recipe("seven_member_ensemble").members()


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


@pytest.mark.parametrize(("stride", "doublings"), [(32, 2), (16, 2), (4, 2), (2, 1), (1, 0), (3, 0)])
def test_doublings_can_be_limited(stride, doublings):
    head = UpsampleHead(64, stride, 1, doublings=2)
    assert head.ratios == ((2,) * doublings or (1,))
    assert len(head.steps) == max(doublings, 1)


@torch.no_grad()
def test_two_doublings_make_upsample_convolve_twice_upsample_classify():
    head, x = UpsampleHead(16, 32, 1, width=4, doublings=2).eval(), torch.randn(1, 16, 3, 4)
    level = x
    for step in head.steps:
        x = step(torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear"))
    expected = head.classify(torch.nn.functional.interpolate(x, scale_factor=8, mode="bilinear"))
    torch.testing.assert_close(head([level], (96, 128)), expected)


def test_fewer_doublings_than_none_are_refused():
    with pytest.raises(ValueError, match="doublings is -1; expected 0 or more"):
        UpsampleHead(4, 4, 2, doublings=-1)


@pytest.mark.parametrize("member", CLASSIC, ids=[member.name for member in CLASSIC])
def test_every_member_of_the_classic_ensemble_doubles_twice(member):
    parts = {part: getattr(member.model, part).model_dump() for part in ("backbone", "neck", "head")}
    with torch.device("meta"):
        model = segkit.Segmenter.create(**parts, output_size=member.model.output_size, classes=2)
        found = model.neck(model.backbone(torch.zeros(1, 3, 384, 512)))
        assert model._on_grid(model.head(found, (384, 512))).shape == (1, 1, 48, 64)
    assert model.head.ratios == (2, 2)
