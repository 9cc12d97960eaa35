import pytest
import torch
import torchvision
from PIL import Image

import segkit
from segkit.classification.classifier import Classifier
from segkit.errors import UsageError
from segkit.labelled.view import View

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


@torch.no_grad()
def test_features_are_what_the_last_layer_reads():
    classifier = Classifier.create(SWIN, classes=3).eval()
    image = torch.rand(2, 3, 20, 26)
    features = classifier.features(image)
    assert features.shape == (2, classifier.head.in_features)
    assert torch.equal(classifier.head(features), classifier(image))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"view": View(size=(24, 20), share=0.8)},
        {"in_channels": 1, "mean": [0.1], "std": [0.3]},
        {"backbone": "resnet18"},
    ],
)
@torch.no_grad()
def test_it_is_saved_and_comes_back_equal(tmp_path, capsys, changes):
    classifier = Classifier.create(**{"backbone": SWIN, "classes": ["cat", "dog"], **changes}).eval()
    classifier.about = {"trained_on": {"dataset": "pets"}, "metrics": {"top1": 0.9}}
    again = segkit.load(segkit.save(classifier, tmp_path / "model"))
    image = torch.rand(2, classifier.channels, 40, 33)
    assert torch.equal(again(image), classifier(image))
    assert not again.training
    for name in ("classes", "view", "channels", "architecture", "about"):
        assert getattr(again, name) == getattr(classifier, name)
    card = (tmp_path / "model" / "README.md").read_text()
    Image.new("RGB", (40, 40)).save(tmp_path / "image.png")
    if classifier.channels == 3:
        code = card.split("```python\n")[1].split("```")[0].replace("path/of/this/folder", str(tmp_path / "model"))
        exec(code.replace("image.png", str(tmp_path / "image.png")))
        assert capsys.readouterr().out.strip()
    assert "pipeline_tag: image-classification" in card
    assert "One of 2 classes for a whole image: cat, dog." in card
    assert "dataset: pets" in card


def test_one_that_was_not_built_by_name_is_not_saved(tmp_path):
    classifier = Classifier.create(SWIN, classes=2)
    classifier.architecture = None
    with pytest.raises(UsageError, match=r"only classifiers built with Classifier\.create can be saved"):
        segkit.save(classifier, tmp_path / "model")


def test_weights_to_start_from_are_not_part_of_what_is_saved():
    start = Classifier.create(SWIN, classes=2).backbone.state_dict()
    classifier = Classifier.create({**SWIN, "weights": start}, classes=2)
    assert classifier.architecture == {"backbone": SWIN, "in_channels": 3}
