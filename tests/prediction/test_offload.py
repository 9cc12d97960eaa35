"""Members on the device one at a time: the same maps, and never two there."""

import numpy as np
import pytest
import torch

import segkit
from segkit.errors import UsageError


@pytest.fixture
def ensemble():
    torch.manual_seed(0)
    part = {"backbone": {"name": "stem", "width": 4}, "neck": {"name": "unet", "widths": [4]}}
    members = [segkit.Segmenter.create(**part, classes=["background", "spot"]) for _ in range(3)]
    return segkit.Ensemble(members, [0.5, 0.3, 0.2], temperatures=[1, 2, 3], temperature=1.5).eval()


def test_maps_are_the_same(ensemble):
    picture = np.random.default_rng(0).random((70, 90, 3), np.float32)
    how = {"tile": 32, "overlap": 0.25, "precision": "fp32", "tta": "mirror"}
    whole = segkit.Predictor(ensemble, **how).predict(picture)
    swapped = segkit.Predictor(ensemble, **how, offload=True, batch=2).predict(picture)
    for name in ("probabilities", "entropy", "disagreement"):
        np.testing.assert_allclose(getattr(swapped, name), getattr(whole, name), atol=1e-6)


def test_each_member_goes_there_once_a_row(ensemble, monkeypatch):
    predictor = segkit.Predictor(ensemble, tile=32, overlap=0, precision="fp32", offload=True, batch=1)
    moves = []
    real = torch.nn.Module.to

    def spy(self, *args, **kwargs):
        if isinstance(self, segkit.Segmenter) and args:
            moves.append(next(i for i, member in enumerate(predictor.prepared.members) if member is self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "to", spy)
    predictor.predict(np.zeros((64, 96, 3), np.float32))
    assert moves == [0, 0, 1, 1, 2, 2] * 2  # there and back, in each of two rows of three tiles


def test_what_can_not_be_offloaded_is_refused(ensemble):
    with pytest.raises(UsageError, match="offload: this model is a single one; it is for ensembles alone"):
        segkit.Predictor(ensemble.members[0], offload=True)
    with pytest.raises(UsageError, match="offload: compile keeps the model on the device"):
        segkit.Predictor(ensemble, offload=True, compile=True)
    with pytest.raises(UsageError, match="members are moved for predictions alone"):
        segkit.Predictor(ensemble, offload=True).rows(ensemble.probabilities, np.zeros((8, 8, 3), np.float32))


def test_a_member_of_images_alone_is_not_shown_the_depth():
    torch.manual_seed(0)
    part = {"name": "stem", "width": 4}
    colour = segkit.Segmenter.create(part, neck="fpn", classes=2)
    bridged = segkit.Segmenter.create(part, neck="fpn", classes=2, depth=part)
    both = segkit.Ensemble([colour, bridged]).eval()
    rng = np.random.default_rng(0)
    picture, depth = rng.random((40, 50, 3), np.float32), rng.random((40, 50), np.float32)
    how = {"tile": 32, "precision": "fp32"}
    whole = segkit.Predictor(both, **how).predict(picture, depth=depth)
    swapped = segkit.Predictor(both, **how, offload=True).predict(picture, depth=depth)
    np.testing.assert_allclose(swapped.probabilities, whole.probabilities, atol=1e-6)
