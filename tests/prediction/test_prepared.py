import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segkit.backbones.linear import Linear, has_onednn
from segkit.ensemble import Ensemble
from segkit.folding import fold_norms
from segkit.model import Segmenter
from segkit.prediction.packed import PackedLinear
from segkit.prediction.prepared import prepared

NORMS = (nn.BatchNorm2d,)


def seasoned(module):
    """BatchNorm as training leaves it: every statistic and parameter its own."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, NORMS):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.1)
    return module.eval()


def norms_in(model):
    return [name for name, part in model.named_modules() if isinstance(part, NORMS)]


def check(model, left=0):
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(image)
        ready = prepared(model, lambda each: each(image), None)
        found = ready(image)
    assert len(norms_in(ready)) == left
    assert norms_in(model)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "left"),
    [
        ("alexnet", 0),
        ("densenet121", 62),  # those before a convolution, and after a stack, have none of their own
        ("inception_v3", 0),
        ("resdeconv", 0),
        ("resnet18", 0),
        ("squeezenet1_1", 0),
        ("stem", 0),
        ("swin_tiny", 0),
        ("timm:resnet18", 0),
        pytest.param("resnet50", 0, marks=pytest.mark.slow),
        pytest.param("vgg19_bn", 0, marks=pytest.mark.slow),
        pytest.param("smp:mit_b0", 0, marks=pytest.mark.slow),
        pytest.param("timm:convnext_tiny", 0, marks=pytest.mark.slow),
    ],
)
def test_every_backbone_says_the_same_with_its_norms_folded(backbone, left):
    check(seasoned(Segmenter.create(backbone, neck="unet", classes=2)), left)


@pytest.mark.parametrize(
    ("neck", "left"),
    [("fpn", 1), ("unet", 0), ("unetplusplus", 0), ("attention_unet", 0), ("upernet", 0), ("coarsest", 0)],
)
def test_every_neck_says_the_same_with_its_norms_folded(neck, left):
    check(seasoned(Segmenter.create({"name": "stem", "width": 4}, neck=neck, classes=2)), left)


@pytest.mark.parametrize("head", ["upsample", "transposed", "pixelshuffle", "linear"])
def test_every_head_says_the_same_with_its_norms_folded(head):
    check(seasoned(Segmenter.create("resnet18", neck="unet", head=head, classes=2)))


def test_an_ensembles_members_are_folded_too():
    members = [Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=2) for _ in range(2)]
    check(seasoned(Ensemble(members)))


class Forked(nn.Module):
    """A convolution whose result is used beside the norm, one used twice, and a norm that two convolutions share."""

    def __init__(self):
        super().__init__()
        self.beside, self.twice, self.first, self.second = (nn.Conv2d(3, 3, 1) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x):
        y = self.beside(x)
        y = y + self.norms[0](y)
        y = self.twice(self.norms[1](self.twice(y)))
        return self.norms[2](self.first(y)) + self.norms[2](self.second(y))


def test_norms_that_are_not_one_convolutions_alone_are_left():
    model, image = seasoned(Forked()), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        expected = model(image)
        assert fold_norms(model, lambda each: each(image)) == 0
        assert torch.equal(model(image), expected)


def test_weights_are_kept_in_the_precision_that_autocast_would_bring_them_to():
    model = seasoned(Segmenter.create("swin_tiny", neck="unet", classes=2))
    image = torch.rand(1, 3, 64, 64)
    folded, ready = (prepared(model, lambda each: each(image), low) for low in (None, torch.bfloat16))
    kept = (nn.Conv2d, nn.LayerNorm, Linear)
    kinds = {type(part): part.weight.dtype for part in ready.modules() if type(part) in kept}
    assert kinds == {nn.Conv2d: torch.bfloat16, Linear: torch.bfloat16, nn.LayerNorm: torch.float32}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(ready(image), folded(image), rtol=0, atol=0)


def test_a_model_with_nothing_to_do_is_returned_itself():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    assert prepared(model, print, None) is model
    assert prepared("no module", print, torch.bfloat16) == "no module"
    model = nn.Sequential(nn.BatchNorm2d(3))
    assert prepared(model, print, torch.bfloat16) is model


def test_the_model_stays_as_it_was():
    model = seasoned(Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=2)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ready = prepared(model, lambda each: each(torch.rand(1, 3, 32, 32)), torch.bfloat16)
    assert model.training
    assert not ready.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Groups(nn.Module):
    """A depthwise convolution with its norm, a transposed one in groups, and a norm of each batch's own statistics."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
        self.transposed = nn.ConvTranspose2d(4, 4, 2, groups=2)
        self.plain = nn.Conv2d(4, 4, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4, track_running_stats=i < 2) for i in range(3))

    def forward(self, x):
        for layer, norm in zip((self.depthwise, self.transposed, self.plain), self.norms, strict=True):
            x = norm(layer(x))
        return x


def test_only_norms_that_the_formula_holds_for_are_folded():
    torch.manual_seed(0)
    model, image = Groups().eval(), torch.rand(2, 4, 9, 9)
    with torch.no_grad():
        model.norms[0].running_var.uniform_(0.5, 1.5)
        expected = model(image)
        assert fold_norms(model, lambda each: each(image)) == 1
        torch.testing.assert_close(model(image), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not has_onednn(torch.device("cpu")), reason="needs oneDNN")
@pytest.mark.parametrize("low", [torch.bfloat16, None])
@torch.inference_mode()
def test_packed_weights_say_the_same_and_no_less_exactly(low):
    torch.manual_seed(0)
    swin = {"name": "swin", "embed_dim": 16, "depths": [2, 2], "heads": [1, 2]}
    model = Segmenter.create(swin, neck="fpn", classes=2).eval()
    probe = torch.zeros(1, 3, 64, 64)
    plain, packed = (prepared(model, lambda each: each.statistics(probe), low, packs=packs) for packs in (False, True))
    assert sum(isinstance(module, PackedLinear) for module in packed.modules()) == 17  # four a block, one a merging
    for size in ((64, 64), (33, 130)):
        image = torch.rand(2, 3, *size)
        with torch.autocast("cpu", dtype=low, enabled=low is not None):
            found, expected = packed(image).float(), plain(image).float()
        exact = model.double()(image.double())
        model.float()
        assert (found - exact).square().mean() < 1.1 * (expected - exact).square().mean()
    assert not any(isinstance(module, PackedLinear) for module in model.modules())


@pytest.mark.skipif(not has_onednn(torch.device("cpu")), reason="needs oneDNN")
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float32])
def test_packed_weights_can_be_copied_pickled_and_counted(low):
    linear, x = Linear(48, 32).to(low).requires_grad_(False), torch.randn(5, 48)
    packed = PackedLinear(linear)
    with torch.no_grad(), torch.autocast("cpu", enabled=low is torch.bfloat16):
        expected = packed(x)
        assert torch.equal(packed.weight, linear.weight)
        for again in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
            assert torch.equal(again(x), expected)
        with FlopCounterMode(display=False) as counter:
            torch.testing.assert_close(packed(x), expected)
    assert counter.get_total_flops() == 2 * 5 * 48 * 32
