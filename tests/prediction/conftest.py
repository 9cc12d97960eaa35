"""Models small enough to work out what they say by hand: each pixel's answer is in its own colours."""

import pytest
import torch
from torch import nn

from segkit.data.reader import Reader
from segkit.statistics import PixelStatistics, entropy


class Colours(nn.Module):
    """The first ``maps`` channels are the probabilities; an ensemble's disagreement is half the last channel."""

    def __init__(self, task, classes, *, background=None, channels=3, window=None, ensemble=False):
        super().__init__()
        self.task, self.classes, self.background = task, tuple(classes), background
        self.maps = 1 if task == "binary" else len(classes)
        self.reader = Reader(channels=channels, window=window)
        if ensemble:
            self.members = nn.ModuleList()
        self.frozen = nn.BatchNorm2d(1).eval()
        self.scale = nn.Parameter(torch.ones(()))
        self.takes_whole_images = False
        self.disagrees = False
        self.sizes, self.trained = [], []

    def probabilities(self, image):
        self.sizes.append(tuple(image.shape))
        self.trained.append(self.training)
        return image[:, : self.maps] * self.scale

    def statistics(self, image):
        probabilities = self.probabilities(image)
        disagreement = image[:, -1] / 2 if hasattr(self, "members") else None
        return PixelStatistics(probabilities, entropy(probabilities, self.task), disagreement)


@pytest.fixture
def binary():
    return Colours("binary", ["background", "vessel"], background=0)


@pytest.fixture
def multiclass():
    return Colours("multiclass", ["road", "sky", "tree"])


@pytest.fixture
def multilabel():
    return Colours("multilabel", ["red", "green"])


@pytest.fixture
def ensemble():
    return Colours("binary", ["background", "vessel"], background=0, ensemble=True)


@pytest.fixture
def build():
    return Colours
