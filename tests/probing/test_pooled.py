"""Features of images: means over a level, of a backbone that stays as it is, kept between probes."""

import numpy as np
import pytest
import torch

from segkit import backbones
from segkit.errors import ModelError, UsageError
from segkit.labelled.held import HeldImages
from segkit.labelled.view import View
from segkit.probing.pooled import PooledBackbone, features_of

TINY = {"embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}


class Drawn:
    """Images of noise as a dataset gives them."""

    def __init__(self, count=5, side=24):
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
        self.names = [f"{i}" for i in range(count)]
        self.labels = np.arange(count) % 2

    def __len__(self):
        return len(self.pixels)

    def read(self, index, channels=3):
        return self.pixels[index, :, :, :channels]


@pytest.fixture
def held():
    return HeldImages(Drawn(), range(5), channels=3, size=View(size=(24, 24)))


@pytest.fixture
def pooled():
    torch.manual_seed(0)
    return pool()


def pool(**options):
    mean, std = torch.full((1, 3, 1, 1), 0.4), torch.full((1, 3, 1, 1), 0.2)
    return PooledBackbone(backbones.create("swin", **TINY), mean, std, **options)


def test_a_feature_is_the_mean_over_the_level_of_the_normalised_image(pooled, held):
    image = torch.from_numpy(held.images.pixels.transpose(0, 3, 1, 2)) / 255
    with torch.inference_mode():
        coarsest = pooled.backbone((image - 0.4) / 0.2)[-1]
    features = features_of(pooled, held, batch=2, precision="fp32")
    assert features.dtype == torch.float32
    assert features.shape == (5, 16)
    torch.testing.assert_close(features, coarsest.mean((2, 3)))


@pytest.mark.parametrize(("level", "index", "channels", "stride"), [(-1, 1, 16, 8), (0, 0, 8, 4), (-2, 0, 8, 4)])
def test_any_level_can_be_taken(level, index, channels, stride):
    taken = pool(level=level)
    assert (taken.level, taken.channels, taken.stride) == (index, channels, stride)
    assert taken(torch.rand(1, 3, 24, 24)).shape == (1, channels)


@pytest.mark.parametrize("level", [2, -3])
def test_a_level_that_isnt_there_is_refused(level):
    with pytest.raises(UsageError, match=f"level is {level}; this backbone has 2: 0..1, or -1 for the coarsest"):
        pool(level=level)


def test_nothing_in_it_learns_or_drops_paths(pooled):
    pooled.train()
    assert not any(module.training for module in pooled.modules())
    assert not any(parameter.requires_grad for parameter in pooled.parameters())


def test_low_precision_is_near(pooled, held):
    exact, rough = (features_of(pooled, held, precision=precision) for precision in ("fp32", "bf16"))
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() < 0.02 * exact.norm()


def test_kept_features_are_not_computed_again(pooled, held, tmp_path, monkeypatch):
    shown = []
    first = features_of(pooled, held, batch=2, cache=tmp_path / "kept", progress=lambda *done: shown.append(done))
    assert shown == [(2, 5), (4, 5), (5, 5)]
    plain, seen = PooledBackbone.forward, []
    monkeypatch.setattr(PooledBackbone, "forward", lambda self, image: seen.append(len(image)) or plain(self, image))
    assert torch.equal(features_of(pooled, held, batch=2, cache=tmp_path / "kept"), first)
    assert seen == [1]  # by which it is known again


@pytest.mark.parametrize("changed", ["weights", "pixels", "normalisation", "options"])
def test_features_of_anything_else_are_not_taken_for_them(pooled, held, tmp_path, changed):
    first = features_of(pooled, held, cache=tmp_path)
    if changed == "weights":
        with torch.no_grad():
            next(pooled.backbone.parameters()).add_(0.5)
    elif changed == "pixels":
        held.images.pixels[3, 2, 2] ^= 255
        held = HeldImages(held.images, range(5), channels=3, size=held.size)
    elif changed == "options":
        for norm in (module for module in pooled.modules() if isinstance(module, torch.nn.LayerNorm)):
            norm.eps = 1.0
    else:
        pooled.mean += 0.1
    second = features_of(pooled, held, cache=tmp_path)
    assert not torch.equal(first, second)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_of_features_is_named(pooled, held, tmp_path):
    features_of(pooled, held, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"half")
    with pytest.raises(ModelError, match=rf"{kept.name}: kept features that can't be read .*; delete the file"):
        features_of(pooled, held, cache=tmp_path)
