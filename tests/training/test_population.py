"""BatchNorm's statistics: measured on plain crops, and what the last epochs are trained with."""

import copy

import pytest
import torch
from torch import nn

from segkit.data.dataset import SegmentationDataset
from segkit.data.folder import open_dataset
from segkit.data.reader import Reader
from segkit.training.average import WeightAverage
from segkit.training.callbacks import FixedNorms
from segkit.training.population import learning_norms, measure_norms, plain_batches
from segkit.training.run import train


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))


@pytest.fixture
def dataset(cells):
    folder = open_dataset(cells)
    crops = {"crop": 32, "crops_per_image": 2, "foreground": 1.0, "augment": "strong", "seed": 3}
    return SegmentationDataset(folder, folder.samples("train"), Reader(), **crops)


@torch.no_grad()
def test_statistics_are_the_averages_over_the_batches(model):
    batches = [torch.rand(5, 3, 6, 7), 2 * torch.rand(4, 3, 8, 8)]
    modes = [module.training for module in model.train().modules()]
    measure_norms(model, batches)
    first, second = model[1], model[4]
    given = [model[0](images).transpose(0, 1).flatten(1) for images in batches]
    torch.testing.assert_close(first.running_mean, sum(each.mean(1) for each in given) / 2)
    torch.testing.assert_close(first.running_var, sum(each.var(1) for each in given) / 2)
    # What follows sees each batch normalised by its own statistics, and no dropout.
    normalised = [(model[0](images), images) for images in batches]
    given = [model[3](copy.deepcopy(first).train()(maps)).transpose(0, 1).flatten(1) for maps, _ in normalised]
    torch.testing.assert_close(second.running_mean, sum(each.mean(1) for each in given) / 2)
    assert [module.training for module in model.modules()] == modes
    assert first.momentum == second.momentum == 0.1


def test_frozen_norms_and_those_without_statistics_stay(model):
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    model.append(nn.BatchNorm2d(2, track_running_stats=False))
    before = model[1].running_mean.clone()
    measure_norms(model, [torch.rand(5, 3, 6, 7)])
    assert torch.equal(model[1].running_mean, before)
    assert learning_norms(model) == [model[4]]


def test_batches_are_plain_crops_larger_and_no_more_than_training_allows(dataset):
    pictures = {tuple(map(tuple, pair[0].reshape(-1, 3))) for pair in dataset._cache}
    pixels = set().union(*pictures)
    found = list(plain_batches(dataset, 4, epochs=400))
    assert [images.shape for images in found] == [(32, 3, 32, 32)] * 8
    seen = (found[0] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).reshape(-1, 3)
    assert {tuple(pixel) for pixel in seen[:2000].tolist()} <= pixels  # no colour is one that augmentation made
    assert all(torch.equal(a, b) for a, b in zip(found, plain_batches(dataset, 4, epochs=400), strict=True))
    assert len(list(plain_batches(dataset, 4, epochs=1))) == 1
    assert dataset.foreground == 1.0
    assert dataset.window != dataset.crop


def test_pictures_of_their_own_sizes_come_as_many_at_a_time_as_in_training(dataset):
    dataset.crop = None
    assert next(plain_batches(dataset, 2, epochs=10)).shape == (2, 3, 48, 48)


def test_an_average_takes_measured_statistics_as_they_are(model):
    average = WeightAverage(model, decay=0.9)
    weights = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.add_(1)
    measure_norms(model, [torch.rand(5, 3, 6, 7)])
    average.take_statistics(model)
    measured = model[4].running_var.clone()
    with average.applied_to(model):
        assert torch.equal(model[4].running_var, measured)
        assert torch.equal(model[0].weight, weights)


@pytest.mark.parametrize(("epochs", "first"), [(1, 1), (4, 4), (5, 4), (10, 8), (35, 28)])
def test_the_last_fifth_of_the_epochs_is_trained_with_them(dataset, epochs, first):
    assert FixedNorms(dataset, 4, epochs).first == first


def test_training_ends_with_the_statistics_measured_then(monkeypatch, recipe, cells, tmp_path):
    measured = []

    def measure(model, batches):
        measure_norms(model, batches)
        measured.append([norm.running_mean.clone() for norm in learning_norms(model)])

    monkeypatch.setattr("segkit.training.callbacks.measure_norms", measure)
    run = train(recipe(members=("only",), train={"epochs": 10}), cells, out=tmp_path, console=False)
    (means,) = measured
    for mean, norm in zip(means, learning_norms(run.model), strict=True):
        assert torch.equal(norm.running_mean, mean)
