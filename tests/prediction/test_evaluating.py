"""A model is in evaluation mode for a while, and afterwards as it was."""

from torch import nn

from segkit.prediction.evaluating import evaluating


def test_modules_are_afterwards_as_they_were():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Dropout(), nn.BatchNorm2d(1))
    model.train()
    model[2].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model] == [True, True, False]


def test_of_two_at_once_the_last_brings_it_back():
    model = nn.Sequential(nn.Dropout())
    model.train()
    first, second = evaluating(model), evaluating(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not model.training
    assert not model[0].training
    second.__exit__(None, None, None)
    assert model.training
    assert model[0].training
    with evaluating(model):
        assert not model.training
    assert model.training
