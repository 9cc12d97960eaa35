"""Corruptions and attacks: by hand, and as curves of score."""

import json

import cv2
import numpy as np
import pytest
import torch
from bright_discs import built

import segkit
from segkit.cli.main import main
from segkit.data.synthetic import draw_cells
from segkit.errors import DataError, UsageError
from segkit.stressing.corruptions import STRENGTHS, corrupted
from segkit.stressing.fgsm import gradient_sign
from segkit.stressing.run import KINDS
from segkit.training.losses import build_loss


@pytest.fixture
def picture():
    return cv2.GaussianBlur(np.random.default_rng(0).random((40, 50, 3), np.float32), (0, 0), 2)


def test_noise_has_the_deviation_said(picture):
    middle = np.full((200, 200, 3), 0.5, np.float32)
    changed = corrupted(middle, "noise", 0.1, seed=1)
    assert changed.std() == pytest.approx(0.1, rel=0.02)
    assert np.array_equal(changed, corrupted(middle, "noise", 0.1, seed=1))
    assert not np.array_equal(changed, corrupted(middle, "noise", 0.1, seed=2))


def test_contrast_is_about_each_channels_mean(picture):
    changed = corrupted(picture, "contrast", 0.3, seed=0)
    np.testing.assert_allclose(changed.mean((0, 1)), picture.mean((0, 1)), atol=1e-6)
    np.testing.assert_allclose(changed.std((0, 1)), 0.3 * picture.std((0, 1)), rtol=1e-4)


def test_blur_keeps_the_mean_and_spreads_a_point():
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 1
    changed = corrupted(point, "blur", 2.0, seed=0)
    assert changed.shape == point.shape
    rows = np.arange(41)[:, None, None] - 20
    assert float((changed * rows**2).sum()) == pytest.approx(4, rel=0.02)


def test_jpeg_gets_worse_with_its_quality(picture):
    errors = [float(np.abs(corrupted(picture, "jpeg", q, seed=0) - picture).mean()) for q in (100.0, 50.0, 7.0)]
    assert errors[0] < errors[1] < errors[2] < 0.1
    assert corrupted(picture[..., :1], "jpeg", 50.0, seed=0).shape == (40, 50, 1)


def test_every_corruption_keeps_what_a_picture_is(picture):
    for kind, strengths in STRENGTHS.items():
        for strength in strengths:
            for channels in (1, 3):
                found = corrupted(picture[..., :channels], kind, strength, seed=0)
                assert found.shape == (40, 50, channels)
                assert found.dtype == np.float32
                assert 0 <= found.min() <= found.max() <= 1


def test_the_sign_of_a_gradient_by_hand():
    # Logits are 2·(red - blue): to grow the loss, red falls where the truth is 1 and rises where it is 0.
    def probabilities(x):
        return (2 * (x[:, :1] - x[:, 2:])).sigmoid()

    target = torch.tensor([[[1, 0, 255]]])
    loss = build_loss({"cross_entropy": 1.0}, task="binary", classes=2)
    sign = gradient_sign(probabilities, torch.full((1, 3, 1, 3), 0.5), target, loss, "binary")
    assert sign[0, :, 0].tolist() == [[-1, 1, 0], [0, 0, 0], [1, -1, 0]]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return draw_cells(tmp_path_factory.mktemp("stress") / "cells", images=6, size=48)


@pytest.fixture(scope="module")
def ensemble():
    torch.manual_seed(0)
    members = [
        segkit.Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=["background", "cell"])
        for _ in range(2)
    ]
    return segkit.Ensemble(members, names=["one", "two"], temperature=2.0).eval()


def test_curves_are_those_of_the_corrupted_pictures(ensemble, cells):
    found = segkit.stress(ensemble, cells, kinds=["contrast"], precision="fp32")
    assert list(found.curves["contrast"]) == ["the ensemble", "one", "two"]
    plain = segkit.evaluate(ensemble, cells, precision="fp32")
    assert found.clean["contrast"]["the ensemble"] == pytest.approx(
        plain.metrics["pooled"]["per_class"]["cell"]["dice"]
    )
    alone = plain.members["two"]["pooled"]["per_class"]["cell"]["dice"]
    assert found.clean["contrast"]["two"] == pytest.approx(alone, nan_ok=True)
    assert [strength for strength, _ in found.curves["contrast"]["one"]] == list(KINDS["contrast"])


def test_the_whole_is_scored_with_its_steps(cells):
    class Bright(segkit.Segmenter):
        def forward(self, image, depth=None):
            return 30 * (0.7 - image.mean(1, keepdim=True))

    clean = []
    for steps in (None, {"smallest": "2000 px"}):
        model = built(Bright, postprocess=steps)
        found = segkit.stress(model, cells, "val+test", kinds=["contrast"], most=99)
        plain = segkit.evaluate(model, cells, "val+test").metrics["pooled"]["per_class"]["cell"]["dice"]
        assert found.clean["contrast"]["model"] == pytest.approx(plain)
        clean.append(plain)
    assert clean[0] > clean[1] == 0


def test_an_attack_lowers_the_score_more_than_noise(cells):
    class Bright(segkit.Segmenter):
        def forward(self, image, depth=None):
            return 30 * (0.7 - image.mean(1, keepdim=True))

    model = built(Bright)
    found = segkit.stress(model, cells, kinds=["fgsm", "noise"], precision="fp32")
    attacked = [value for _, value in found.curves["fgsm"]["model"]]
    noisy = [value for _, value in found.curves["noise"]["model"]]
    assert found.clean["fgsm"]["model"] > attacked[0] > attacked[2] > attacked[4]
    assert attacked[4] < min(noisy)


def test_where_nothing_can_be_attacked_the_other_curves_are_kept(tmp_path):
    cells = draw_cells(tmp_path / "cells", images=3, size=560)
    for file in (cells / "masks").iterdir():
        mask = np.full((560, 560), 255, np.uint8)
        mask[:20], mask[:20, :99] = 0, 1  # above the middle that is attacked
        cv2.imwrite(str(file), mask)
    model = segkit.Segmenter.create({"name": "stem", "width": 2}, neck="unet", classes=["background", "cell"]).eval()
    found = segkit.stress(model, cells, kinds=["contrast", "fgsm"], most=1)
    assert set(found.curves) == {"contrast"}
    assert "no fgsm: nothing counts in the middle of any" in found.on
    with pytest.raises(DataError, match="nothing counts in the middle of any picture"):
        segkit.stress(model, cells, kinds=["fgsm"], most=1)


def test_the_command_writes_curves(workplace, capsys):
    assert main(["stress", "runs/demo/model", "cells", "--kind", "jpeg", "--most", "1", "-o", "out", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["curves"]) == {"jpeg"}
    assert json.loads((workplace / "out" / "robustness.json").read_text()) == printed
    assert cv2.imread(str(workplace / "out" / "robustness.png")) is not None
    assert "quality of the JPEG" in (workplace / "out" / "table.txt").read_text()


def test_what_has_no_meaning_is_refused(ensemble, cells):
    with pytest.raises(UsageError, match="no corruption 'nose'; did you mean 'noise'"):
        segkit.stress(ensemble, cells, kinds=["nose"])
    with pytest.raises(UsageError, match="most=0, seed=0: expected at least one kind and one picture"):
        segkit.stress(ensemble, cells, most=0)


def test_a_model_without_a_gradient_is_not_attacked(cells):
    blind = segkit.Adapter(lambda x: x[:, :1].detach(), classes=["background", "cell"], gives="probabilities")
    with pytest.raises(UsageError, match="fgsm: a model here has no gradient"):
        segkit.stress(blind, cells, kinds=["fgsm"])


@pytest.mark.parametrize("how", [{"tile": 32}, {"tta": "flip"}])
def test_a_temperature_changes_no_score(ensemble, cells, how):
    plain = segkit.Ensemble(list(ensemble.members), names=ensemble.names).eval()
    sure = segkit.Ensemble(list(ensemble.members), names=ensemble.names, temperature=0.05).eval()
    found = [segkit.stress(each, cells, kinds=["fgsm", "contrast"], **how).figures for each in (plain, sure)]
    assert found[0] == found[1]


def test_it_is_said_where_the_pictures_are_known(ensemble, cells):
    known = segkit.Ensemble(list(ensemble.members), names=["ensemble", "two"]).eval()
    known.about = {"trained_on": {"dataset": "cells", "splits": "train"}}
    found = segkit.stress(known, cells, "train", kinds=["contrast"], most=1)
    assert found.notes == ("the model was trained on split 'train' of cells: these scores say little about new images",)
    assert found.table().endswith(f"\n\nnote: {found.notes[0]}")
    assert list(found.curves["contrast"]) == ["the ensemble", "ensemble", "two"]  # one name is no other
    assert segkit.stress(known, cells, kinds=["contrast"], most=1).notes == ()
