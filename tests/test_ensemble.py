import math

import pytest
import torch

from segkit import Ensemble, Segmenter
from segkit.errors import UsageError
from segkit.statistics import entropy

BODY = {"backbone": {"name": "stem", "width": 4}, "neck": {"name": "unet", "widths": [4]}}
IMAGE = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(3))


def member(seed, classes=2, **changes):
    torch.manual_seed(seed)
    return Segmenter.create(**BODY, classes=classes, **changes).eval()


class Fixed(Segmenter):
    """A segmenter that always gives the same probabilities."""

    def __init__(self, values, task):
        source = member(0, len(values) if task != "binary" else 2, task=task)
        super().__init__(
            source.backbone,
            source.neck,
            source.head,
            classes=source.classes,
            task=source.task,
            background=None,
            reader=source.reader,
            mean=[0, 0, 0],
            std=[1, 1, 1],
        )
        self.values = torch.tensor(values).view(1, -1, 1, 1)

    def probabilities(self, image, depth=None):
        return self.values.expand(image.shape[0], -1, *image.shape[-2:])


@pytest.mark.parametrize("classes", [2, 4])
def test_the_mean_of_the_stack_in_any_order(classes):
    members = [member(seed, classes) for seed in range(5)]
    stacked = torch.stack([m.probabilities(IMAGE) for m in members])
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        found = Ensemble([members[i] for i in order])(IMAGE)
        torch.testing.assert_close(found, stacked.mean(0), atol=1e-6, rtol=0)


def test_weights_are_scaled_to_sum_to_one():
    a, b = Fixed([0.2], "binary"), Fixed([0.8], "binary")
    assert Ensemble([a, b], [3, 1])(IMAGE).unique().item() == pytest.approx(0.75 * 0.2 + 0.25 * 0.8)
    assert Ensemble([a, b], torch.tensor([0.0, 2.0]))(IMAGE).unique().item() == pytest.approx(0.8)


def test_one_weight_a_class_still_gives_probabilities_that_sum_to_one():
    a, b = Fixed([0.6, 0.3, 0.1], "multiclass"), Fixed([0.2, 0.2, 0.6], "multiclass")
    found = Ensemble([a, b], torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]))(IMAGE)[0, :, 0, 0]
    unscaled = torch.tensor([0.6, 0.2, 0.35])
    torch.testing.assert_close(found, unscaled / unscaled.sum())


def test_disagreement_is_the_entropy_of_the_mean_less_the_mean_entropy():
    found = Ensemble([Fixed([0.0], "binary"), Fixed([1.0], "binary")]).statistics(IMAGE)
    assert found.entropy.unique().item() == pytest.approx(math.log(2))
    assert found.mutual_information.unique().item() == pytest.approx(math.log(2))
    assert found.std.unique().item() == pytest.approx(0.5)


def test_members_of_one_mind_do_not_disagree():
    found = Ensemble([Fixed([0.3], "binary")] * 3).statistics(IMAGE)
    assert found.mutual_information.max().item() == pytest.approx(0, abs=1e-6)
    assert found.std.max().item() == pytest.approx(0, abs=1e-3)
    assert found.entropy[0, 0, 0].item() == pytest.approx(-(0.3 * math.log(0.3) + 0.7 * math.log(0.7)))


def test_statistics_equal_those_of_the_stack():
    members, weights = [member(seed, 4) for seed in range(3)], torch.tensor([0.5, 0.3, 0.2])
    found = Ensemble(members, weights).statistics(IMAGE)
    stacked = torch.stack([m.probabilities(IMAGE) for m in members])
    mean = (stacked * weights.view(3, 1, 1, 1, 1)).sum(0)
    within = sum(w * entropy(p, "multiclass") for w, p in zip(weights, stacked, strict=True))
    torch.testing.assert_close(found.probabilities, mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.mutual_information, entropy(mean, "multiclass") - within, atol=1e-6, rtol=0)


def test_probabilities_never_exceed_one_and_have_finite_entropy():
    found = Ensemble([Fixed([1.0], "binary")] * 3).statistics(IMAGE)
    assert found.probabilities.max() <= 1
    assert found.entropy.isfinite().all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Ensemble([]), "needs at least one member"),
        (lambda: Ensemble([torch.nn.Conv2d(3, 1, 1)]), "member 'member_0': got Conv2d; expected a Segmenter, .* or an"),
        (lambda: Ensemble([member(0), member(1, 3)]), "member 'member_1' has task multiclass, 'member_0' has binary"),
        (lambda: Ensemble([member(0), member(1, ["x", "y"])]), "they must agree"),
        (lambda: Ensemble([member(0), member(1, in_channels=1)]), r"differ in data\.channels \(1 and 3\)"),
        (
            lambda: Ensemble([member(0), member(1, window=(0, 9))]),
            r"differ in data\.window \(\[0\.0, 9\.0\] and null\); an ensemble reads each",
        ),
        (lambda: Ensemble([member(0), member(1)], [1, 2, 3]), r"weights have shape \[3\]; expected \[2\] or \[2, 1\]"),
        (lambda: Ensemble([member(0), member(1)], [1, -1]), "finite, zero or more"),
        (lambda: Ensemble([member(0), member(1)], [0, 0]), "positive sum"),
        (lambda: Ensemble([member(0), member(1)], names=["a", "a"]), "give each its own"),
        (lambda: Ensemble([member(0), member(1)], names=["a", "../b"]), "member name '../b': expected letters"),
    ],
)
def test_members_and_weights_that_do_not_fit_are_refused(build, message):
    with pytest.raises(UsageError, match=message):
        build()


def test_depth_is_shown_to_the_members_that_take_it():
    first = Segmenter.create(**BODY, classes=2, depth={"name": "stem", "width": 4}, bridge="concat").eval()
    with torch.no_grad():  # bridges begin by saying nothing
        for parameter in first.backbone.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    both = Ensemble([first, member(1)]).eval()
    depth = torch.rand(2, 2, 12, 10, generator=torch.Generator().manual_seed(7))
    depth[:, -1] = 1
    expected = [first.probabilities(IMAGE, depth), both.members[1].probabilities(IMAGE)]
    for place, each in enumerate(expected):
        torch.testing.assert_close(both.member_probabilities(place, IMAGE, depth), each)
    torch.testing.assert_close(both(IMAGE, depth), (expected[0] + expected[1]) / 2)
    assert (expected[0] - first.probabilities(IMAGE)).abs().max() > 1e-4
