"""Signs of quality by hand."""

import numpy as np
import pytest

import segkit.trusting.signs as module
from segkit.trusting.signs import SIGNS, signs_of


def named(*arguments, **options):
    return dict(zip(SIGNS, signs_of(*arguments, **options), strict=True))


def test_signs_of_four_pixels():
    p = np.array([[[0.9, 0.6, 0.2, 0.1]]], np.float32)
    nats = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32) * np.log(2)
    found = named(np.array([[1, 1, 0, 0]], np.uint8), p, nats, nats / 2, task="binary", background=0)
    assert found["expected_dice"] == pytest.approx(2 * 1.5 / (1.8 + 2))
    assert found["least_expected_dice"] == found["expected_dice"]
    assert found["entropy"] == pytest.approx(0.25)
    assert found["entropy_inside"] == pytest.approx(0.15)
    assert found["disagreement"] == pytest.approx(0.125)
    assert found["disagreement_inside"] == pytest.approx(0.075)
    assert found["foreground"] == pytest.approx(0.5**0.5)
    assert found["anything"] == 1


def test_nothing_found_is_a_sign_too():
    zeros = np.zeros((3, 3), np.float32)
    found = named(zeros.astype(np.uint8), zeros[None], zeros, None, task="binary", background=0)
    assert set(found.values()) == {0}


def test_classes_are_averaged_without_background():
    p = np.array([[[0.8, 0.1, 0.1]], [[0.1, 0.8, 0.3]], [[0.1, 0.1, 0.6]]], np.float32)
    labels, nats = np.array([[0, 1, 2]], np.uint8), np.zeros((1, 3), np.float32)
    found = named(labels, p, nats, None, task="multiclass", background=0)
    dice = [2 * 0.8 / (1.2 + 1), 2 * 0.6 / (0.8 + 1)]
    assert found["expected_dice"] == pytest.approx(np.mean(dice))
    assert found["least_expected_dice"] == pytest.approx(min(dice))
    assert found["foreground"] == pytest.approx((2 / 3) ** 0.5)


def test_maps_are_looked_at_in_parts(monkeypatch):
    monkeypatch.setattr(module, "VALUES", 100)
    random = np.random.default_rng(0)
    p = random.random((2, 37, 5), np.float32)
    labels, nats = (p >= 0.5).astype(np.uint8), random.random(p.shape[1:], np.float32)
    whole = signs_of(labels, p, nats, nats, task="multilabel", background=None)
    turned = signs_of(labels[:, ::-1], p[:, ::-1], nats[::-1], nats[::-1], task="multilabel", background=None)
    np.testing.assert_allclose(whole, turned)
