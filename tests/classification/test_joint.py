import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segkit import backbones
from segkit.classification.classifier import Classifier
from segkit.classification.feature_head import FeatureHead
from segkit.classification.joint import JointClassifier, JointHead
from segkit.classification.joint_training import Features, log_loss, train_head
from segkit.errors import UsageError

SWIN = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}


class Seen(nn.Module):
    """An image backbone's coarsest map, averaged: [B, 64]."""

    def __init__(self):
        super().__init__()
        self.backbone = backbones.create("resnet18", levels=[0, 1])

    def forward(self, image):
        return self.backbone(image)[-1].mean((2, 3))


class Heard(nn.Module):
    """A small network for sound: waveforms [B, 1, T] → [B, 16]."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(1, 16, 9, stride=2), nn.BatchNorm1d(16), nn.ReLU())

    def forward(self, sound):
        return self.layers(sound).mean(2)


class Twice(nn.Module):
    """Gives two tensors, as some encoders of other libraries do."""

    def forward(self, image):
        return image, image


def scenes(count, seed):
    """Stripes that lie or stand, and a high or a low tone; what is asked is whether it is one of both or neither."""
    generator = torch.Generator().manual_seed(seed)
    seen, heard = torch.randint(2, (2, count), generator=generator)
    stripes = ((torch.arange(24) // 3) % 2).float()
    stripes = torch.where(seen.view(-1, 1, 1) == 1, stripes[None, :, None], stripes[None, None, :])
    image = stripes[:, None].expand(count, 3, 24, 24) + 0.3 * torch.randn(count, 3, 24, 24, generator=generator)
    phase = 6.28 * torch.rand(count, 1, generator=generator)
    tone = torch.sin(torch.arange(128) * (0.3 + 0.9 * heard[:, None]) + phase)
    sound = tone[:, None] + 0.3 * torch.randn(count, 1, 128, generator=generator)
    return image, sound, seen ^ heard


@pytest.fixture(scope="module")
def joint():
    torch.manual_seed(0)
    return JointHead([Seen(), Heard()], [64, 16], 2, hidden=32)


def features_of(joint, *inputs, target):
    return Features([each[None] for each in joint.features(*inputs)], target)


def accuracy(head, features):
    with torch.no_grad():
        said = head([views[0] for views in features.views]).argmax(1)
    return float((said == features.target).float().mean())


def test_what_neither_eye_nor_ear_knows_alone_is_learnt_from_both(joint):
    before = {name: tensor.clone() for name, tensor in joint.encoders.state_dict().items()}
    *train_inputs, train_target = scenes(800, 0)
    *test_inputs, test_target = scenes(400, 1)
    train = features_of(joint, *train_inputs, target=train_target)
    test = features_of(joint, *test_inputs, target=test_target)
    train_head(joint.top, train, epochs=40)
    with torch.no_grad():
        both = float((joint(*test_inputs).argmax(1) == test_target).float().mean())
    assert both > 0.95
    for place, width in enumerate((64, 16)):
        torch.manual_seed(0)
        alone = FeatureHead([width], 2, hidden=32)
        train_head(alone, Features([train.views[place]], train.target), epochs=40)
        assert abs(accuracy(alone, Features([test.views[place]], test.target)) - 0.5) < 0.1
    after = joint.encoders.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert any("running_mean" in name for name in after)
    assert any("num_batches_tracked" in name for name in after)


def test_training_the_whole_leaves_the_encoders_bitwise_as_they_are(joint):
    joint = copy.deepcopy(joint)
    before = {name: tensor.clone() for name, tensor in joint.encoders.state_dict().items()}
    image, sound, target = scenes(32, 0)
    optimizer = torch.optim.AdamW(joint.parameters(), lr=0.1, weight_decay=0.5)
    first = joint.top.read[1].weight.clone()
    joint.train()
    assert joint.top.training
    assert not any(module.training for module in joint.encoders.modules())
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(joint(image, sound), target).backward()
        optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in joint.encoders.state_dict().items())
    assert not torch.equal(joint.top.read[1].weight, first)
    assert all(parameter.grad is not None for parameter in joint.top.parameters())


def test_without_a_hidden_layer_it_is_a_linear_layer_on_normalised_features():
    torch.manual_seed(0)
    head = FeatureHead([3, 2], 4, hidden=0).eval()
    a, b = 5 + 3 * torch.randn(50, 3), torch.randn(50, 2)
    b[:, 1] = 7.0  # never changes
    head.measure([a, b])
    normal = torch.cat([(a - a.mean(0)) / a.std(0, correction=0), b - b.mean(0)], dim=1)
    normal[:, 3] /= b[:, 0].std(correction=0)
    linear = head.read[-1]
    torch.testing.assert_close(head([a, b]), normal @ linear.weight.T + linear.bias)


def test_a_linear_head_comes_to_what_logistic_regression_says():
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(0)
    target = torch.randint(3, (300,), generator=generator)
    a = F.one_hot(target, 3).float() + torch.randn(300, 3, generator=generator)
    b = F.one_hot(target, 3)[:, :2].float() + torch.randn(300, 2, generator=generator)
    torch.manual_seed(0)
    head = FeatureHead([3, 2], 3, hidden=0, dropout=0.0)
    features = Features([a[None], b[None]], target)
    train_head(head, features, epochs=200, batch=300, learning_rate=0.05, weight_decay=0.0)
    both = torch.cat([a, b], 1).numpy()
    peer = LogisticRegression(C=1e6).fit(both, target.numpy())
    expected = -torch.from_numpy(peer.predict_log_proba(both))[torch.arange(300), target].mean()
    assert log_loss(head, features) == pytest.approx(float(expected), abs=1e-4)


def test_the_weights_of_the_best_epoch_on_held_out_features_are_kept():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 60, 20, generator=generator)
    target = torch.randint(2, (60,), generator=generator)
    torch.manual_seed(0)
    head = FeatureHead([20], 2, hidden=64, dropout=0.0)
    held_out = Features([noise[2:]], target.roll(1))
    trained = train_head(head, Features([noise[:1]], target), held_out, epochs=20, learning_rate=0.01)
    assert len(trained.losses) == 20
    assert trained.losses[trained.epoch - 1] == min(trained.losses) < trained.losses[-1]
    assert log_loss(head, held_out) == min(trained.losses)
    assert not head.training


def test_training_depends_on_the_seed_alone():
    generator = torch.Generator().manual_seed(0)
    features = Features([torch.randn(3, 40, 5, generator=generator)], torch.arange(40) % 2)

    def trained(seed):
        torch.manual_seed(0)
        head = FeatureHead([5], 2)
        torch.manual_seed(torch.seed())
        train_head(head, features, epochs=2, seed=seed)
        return head.read[-1].weight

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def member(seed, backbone=SWIN, **changes):
    torch.manual_seed(seed)
    return Classifier.create(backbone, classes=3, **changes)


def test_a_joint_classifier_reads_what_its_members_last_layers_read():
    members = [member(0), member(1, "resnet18")]
    joint = JointClassifier(members, hidden=0, temperature=2.0).eval()
    image = torch.rand(2, 3, 33, 40)
    with torch.no_grad():
        features = [each.features(image) for each in members]
        for each, feature in zip(members, features, strict=True):
            torch.testing.assert_close(each.head(feature), each(image))
        linear = joint.joint.top.read[-1]
        expected = (torch.cat(features, 1) @ linear.weight.T + linear.bias) / 2
        torch.testing.assert_close(joint(image), expected)
        torch.testing.assert_close(joint.probabilities(image), expected.softmax(1))
    assert joint.members == tuple(members)
    assert joint.classes == members[0].classes
    assert joint.view == members[0].view


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: JointHead([nn.Identity()], [2, 3], 2), "2 widths for 1 encoders"),
        (lambda: JointHead([], [], 2), r"widths=\[\]"),
        (lambda: FeatureHead([2], 2, dropout=1.0), "dropout=1: expected"),
        (lambda: JointHead([nn.Identity()], [2], 2)(torch.zeros(1, 2), torch.zeros(1, 2)), "2 inputs for 1 encoders"),
        (lambda: JointHead([nn.Identity()], [2], 2)(torch.zeros(1, 3)), r"encoder 0 gives \[1, 3\]; expected \[B, 2\]"),
        (
            lambda: JointHead([Twice()], [2], 2)(torch.zeros(1, 2)),
            r"encoder 0 gives a tuple; expected a tensor \[B, 2\]",
        ),
        (
            lambda: JointHead([nn.Identity()] * 2, [2, 2], 2)(torch.zeros(3, 2), torch.zeros(1, 2)),
            "encoder 1 gives 1 rows, encoder 0 3; inputs go together",
        ),
        (
            lambda: JointHead([torch.relu], [2], 2),
            "encoder 0 is of the type builtin_function_or_method; expected an nn",
        ),
        (lambda: JointClassifier([member(0), member(1, in_channels=1)]), "'member_1' has channels 1"),
        (lambda: JointClassifier([member(0)], temperature=0), "temperature 0: expected a number above 0"),
        (
            lambda: train_head(FeatureHead([2], 2), Features([torch.zeros(1, 4, 3)], torch.zeros(4).long())),
            r"features \[\[1, 4, 3\]\] of 4 items; expected \[V, N, D\] with D of \[2\]",
        ),
        (
            lambda: train_head(FeatureHead([2], 2), Features([torch.zeros(1, 4, 2)], torch.full((4,), 2))),
            "targets from 2 to 2; expected ids of 2",
        ),
        (
            lambda: train_head(FeatureHead([2], 2), Features([torch.zeros(1, 4, 2)], torch.zeros(4).long()), epochs=0),
            "epochs=0",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(make, message):
    with pytest.raises(UsageError, match=message):
        make()
