import math

import pytest
import torch

from segkit.classification.classifier import Classifier
from segkit.classification.ensemble import ClassifierEnsemble
from segkit.combining import Gate, LogitMean, Mean
from segkit.errors import UsageError
from segkit.labelled.view import View

SWIN = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}
IMAGE = torch.rand(4, 3, 20, 20, generator=torch.Generator().manual_seed(0))


def member(seed, classes=3, **changes):
    torch.manual_seed(seed)
    made = Classifier.create(SWIN, classes=classes, **changes).eval()
    torch.nn.init.normal_(made.head.weight)
    return made


class Fixed(Classifier):
    """A classifier that gives every image the same probabilities."""

    def __init__(self, values):
        source = member(0, len(values))
        super().__init__(source.backbone, classes=source.classes, mean=[0] * 3, std=[1] * 3)
        self.view, self.values = source.view, torch.tensor(values)

    def probabilities(self, image, depth=None):
        return self.values.expand(len(image), -1)


@torch.no_grad()
def test_the_mean_of_softmaxes():
    members = [member(seed) for seed in range(3)]
    stacked = torch.stack([m(IMAGE).softmax(1) for m in members])
    ensemble = ClassifierEnsemble(members)
    torch.testing.assert_close(ensemble(IMAGE), stacked.mean(0))
    torch.testing.assert_close(ensemble.probabilities(IMAGE), stacked.mean(0))
    assert ensemble.classes == members[0].classes
    assert ensemble.view == members[0].view
    assert ensemble.names == ("member_0", "member_1", "member_2")


@torch.no_grad()
def test_weights_by_member_and_by_class():
    members = [member(seed) for seed in range(2)]
    a, b = (m(IMAGE).softmax(1) for m in members)
    torch.testing.assert_close(ClassifierEnsemble(members, [3.0, 1.0])(IMAGE), 0.75 * a + 0.25 * b)
    by_class = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]])
    mixed = a * by_class[0] + b * by_class[1]
    torch.testing.assert_close(ClassifierEnsemble(members, by_class)(IMAGE), mixed / mixed.sum(1, keepdim=True))


@torch.no_grad()
def test_the_mean_of_logits_is_the_geometric_mean():
    members = [member(seed) for seed in range(2)]
    a, b = (m(IMAGE) for m in members)
    ensemble = ClassifierEnsemble(members, combination=LogitMean(2, 3, "multiclass", weights=[0.25, 0.75]))
    torch.testing.assert_close(ensemble(IMAGE), (0.25 * a.log_softmax(1) + 0.75 * b.log_softmax(1)).softmax(1))


@torch.no_grad()
def test_temperatures_of_members_and_of_the_whole():
    members = [member(seed) for seed in range(2)]
    a, b = (m(IMAGE) for m in members)
    mean = ((a / 2).softmax(1) + b.softmax(1)) / 2
    ensemble = ClassifierEnsemble(members, temperatures=[2.0, 1.0], temperature=0.5)
    torch.testing.assert_close(ensemble(IMAGE), mean.square() / mean.square().sum(1, keepdim=True))


def test_statistics_of_two_that_contradict_each_other():
    found = ClassifierEnsemble([Fixed([1.0, 0.0]), Fixed([0.0, 1.0])]).statistics(IMAGE)
    assert found.probabilities.tolist() == [[0.5, 0.5]] * 4
    torch.testing.assert_close(found.entropy, torch.full((4,), math.log(2)))
    torch.testing.assert_close(found.mutual_information, torch.full((4,), math.log(2)))
    torch.testing.assert_close(found.std, torch.full((4, 2), 0.5))


def test_statistics_of_two_that_agree():
    found = ClassifierEnsemble([Fixed([0.25, 0.75]), Fixed([0.25, 0.75])]).statistics(IMAGE)
    torch.testing.assert_close(found.entropy, torch.full((4,), -0.25 * math.log(0.25) - 0.75 * math.log(0.75)))
    torch.testing.assert_close(found.mutual_information, torch.zeros(4))
    torch.testing.assert_close(found.std, torch.zeros(4, 2))


def with_view(view):
    made = member(1)
    made.view = view
    return made


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassifierEnsemble([]), "at least one member"),
        (lambda: ClassifierEnsemble([member(0), member(1, 4)], names=["a", "b"]), "member 'b' has classes"),
        (lambda: ClassifierEnsemble([member(0), member(1, in_channels=1)]), "'member_1' has channels 1, .* has 3"),
        (lambda: ClassifierEnsemble([member(0), with_view(View(size=(7, 7)))]), r"'member_1' has view .*size=\(7, 7\)"),
        (lambda: ClassifierEnsemble([member(0), member(1)], names=["a", "a"]), "give each its own"),
        (lambda: ClassifierEnsemble([member(0), member(1)], [1.0]), r"weights have shape \[1\]; expected \[2\]"),
        (lambda: ClassifierEnsemble([member(0)], temperatures=[0.0]), "temperature 0: expected a number above 0"),
        (lambda: ClassifierEnsemble([member(0)], combination=Mean(2, 3, "multiclass")), "the combination is of 2"),
        (
            lambda: ClassifierEnsemble([member(0)], combination=Gate(1, 3, "multiclass", channels=3)),
            "a gate looks at pixels",
        ),
    ],
)
def test_what_cannot_go_together_is_said_in_one_line(make, message):
    with pytest.raises(UsageError, match=message):
        make()
