import pytest
import torch
import torchvision

import segkit
from segkit.classification.classifier import Classifier
from segkit.errors import UsageError

SWIN = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}


@torch.no_grad()
def test_logits_are_torchvisions_with_the_same_weights():
    torch.manual_seed(0)
    peer = torchvision.models.swin_t(weights=None, num_classes=7).eval()
    ours = segkit.Classifier.create({"name": "swin_tiny", "weights": peer.state_dict()}, classes=7).eval()
    ours.norm.load_state_dict(peer.norm.state_dict())
    ours.head.load_state_dict(peer.head.state_dict())
    image = torch.rand(2, 3, 96, 128)
    expected = peer((image - ours.mean) / ours.std)
    torch.testing.assert_close(ours(image), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.probabilities(image), expected.softmax(1))


def test_swin_cifar10_has_7048612_parameters():
    with torch.device("meta"):
        classifier = Classifier.create("swin_cifar10", classes=10)
    assert sum(p.numel() for p in classifier.parameters()) == 7_048_612


@pytest.mark.parametrize("name", ["swin_cifar10", "swin_tiny_imagenet", "resnet18"])
def test_any_backbone_classifies(name):
    with torch.device("meta"):
        logits = Classifier.create(name, classes=5, in_channels=1)(torch.empty(2, 1, 64, 64))
    assert logits.shape == (2, 5)


def test_every_parameter_learns():
    classifier = Classifier.create({**SWIN, "drop_path": 0.0}, classes=["cat", "dog", "bird"])
    classifier(torch.rand(2, 3, 33, 47)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in classifier.parameters())
    assert classifier.classes == ("cat", "dog", "bird")


@torch.no_grad()
def test_a_state_dict_restores_equality():
    one, other = (Classifier.create(SWIN, classes=3).eval() for _ in range(2))
    other.load_state_dict(one.state_dict())
    image = torch.rand(1, 3, 20, 20)
    assert torch.equal(one(image), other(image))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "swin_cifar"}, "did you mean 'swin_cifar10'"),
        ({"classes": 0}, "at least one name"),
        ({"mean": [0.5]}, "mean has 1 and std 3 values for 3 channels"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(changes, message):
    with pytest.raises(UsageError, match=message):
        Classifier.create(**{"backbone": SWIN, "classes": 2, **changes})
