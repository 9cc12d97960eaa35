"""Images that grow over a run."""

import pytest
import torch
from pydantic import ValidationError

from segkit.classification.classifier import Classifier
from segkit.pretraining.growth import Growth
from segkit.pretraining.run import pretrain


def test_sizes_in_equal_parts_of_the_run():
    growth = Growth(start=16, until=0.6)
    sizes = [growth.size_at(step / 10, (32, 32)) for step in range(11)]
    assert sizes == [(16, 16)] * 3 + [(24, 24)] * 3 + [(32, 32)] * 5


def test_the_shorter_side_goes_along():
    growth = Growth(start=64, until=1)
    assert growth.size_at(0, (96, 128)) == (48, 64)
    assert growth.size_at(0.5, (96, 128)) == (72, 96)
    assert growth.size_at(1, (96, 128)) == (96, 128)


def test_whole_images_stay_as_they_are():
    image = torch.rand(2, 3, 24, 24)
    assert Growth(start=32).grown(image, 0) is image
    assert Growth(start=16).grown(image, 0.7) is image


def test_smaller_ones_are_averages():
    image = torch.arange(16.0).reshape(1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    small = Growth(start=16).grown(image, 0)
    assert small.shape == (1, 1, 16, 16)
    assert float(small.mean()) == pytest.approx(float(image.mean()))
    assert small[0, 0, 1, 1] == 0


@pytest.mark.parametrize("wrong", [{"start": 0}, {"start": 16, "until": 0}, {"start": 16, "until": 1.5}, {}])
def test_values_outside_their_range(wrong):
    with pytest.raises(ValidationError):
        Growth(**wrong)


def test_a_run_shows_small_images_first_and_validates_whole_ones(recipe, colours, tmp_path, monkeypatch):
    shown, forward = [], Classifier.forward

    def see(self, image):
        shown.append((self.training, tuple(image.shape[-2:])))
        return forward(self, image)

    monkeypatch.setattr(Classifier, "forward", see)
    grow = {"start": 8, "until": 0.6}
    pretrain(recipe(data={"size": 24, "grow": grow}), colours, out=tmp_path / "runs", console=False)
    trained = [size[0] for training, size in shown if training]
    assert trained == [8, 8, 8, 16, 16, 24, 24, 24]
    assert {size for training, size in shown if not training} == {(24, 24)}


def test_depth_does_not_grow_along(recipe):
    with pytest.raises(ValidationError, match=r"data\.grow changes images without their depth"):
        recipe(classify=None, colour_depth={}, model={"depth": "resnet18"}, data={"grow": {"start": 8}})
