"""Every way to combine members, temperatures, and a student with a second head, each in one file."""

import numpy as np
import onnxruntime
import pytest
import torch

import segkit
from segkit.combining import Gate, LogitMean, Mean, Stack

SIZES = [(1, 33, 33), (2, 64, 97)]


def stems(count, **options):
    torch.manual_seed(0)
    part = {"backbone": {"name": "stem", "width": 4}, "neck": {"name": "unet", "widths": [4]}}
    return [segkit.Segmenter.create(**part, classes=3, **options) for _ in range(count)]


def difference(path, model):
    session, found = onnxruntime.InferenceSession(path), []
    for batch, height, width in SIZES:
        pixels = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)
        image = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            expected = model.probabilities(image).numpy()
        found.append(np.abs(session.run(None, {"pixels": pixels})[0] - expected).max())
    return max(found)


@pytest.mark.parametrize("name", ["weights by class", "mean of logits", "gate", "stack"])
def test_an_ensemble_is_one_graph_however_it_is_combined(name, tmp_path):
    ways = {
        "weights by class": lambda: Mean(2, 3, "multiclass", weights=[[0.1, 0.5, 0.9], [0.9, 0.5, 0.1]]),
        "mean of logits": lambda: LogitMean(2, 3, "multiclass", weights=[0.3, 0.7]),
        "gate": lambda: Gate(2, 3, "multiclass", channels=3),
        "stack": lambda: Stack(2, 3, "multiclass"),
    }
    members, combination = stems(2), ways[name]()
    for parameter in combination.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model = segkit.Ensemble(members, combination=combination, temperatures=[0.7, 1.8], temperature=1.3).eval()
    segkit.export(model, tmp_path / "model.onnx")
    assert difference(tmp_path / "model.onnx", model) < 1e-5


def test_a_student_is_exported_without_its_second_head(tmp_path):
    (model,) = stems(1, spread=True)
    segkit.export(model.eval(), tmp_path / "model.onnx")
    assert difference(tmp_path / "model.onnx", model) < 1e-5
    (plain,) = stems(1)
    segkit.export(plain.eval(), tmp_path / "plain.onnx")
    sizes = [(tmp_path / name).stat().st_size for name in ("model.onnx", "plain.onnx")]
    assert sizes[0] < 1.02 * sizes[1]


@pytest.mark.parametrize("temperature", [0.6, 2.0])
def test_the_temperature_comes_after_tiles_and_views_are_averaged(temperature, tmp_path):
    model = segkit.Ensemble(stems(2), temperature=temperature).eval()
    model.about = {"predict": {"tile": 33, "overlap": 0.5, "tta": "flip"}}
    for member in model.members:  # as sure as trained ones, so that tiles and views differ
        torch.nn.init.normal_(member.head.classify.weight, std=40.0)
    segkit.export(model, tmp_path / "model.onnx")
    picture = np.random.default_rng(1).integers(0, 256, (70, 81, 3), np.uint8)
    ours, theirs = (
        segkit.Predictor(each, precision="fp32").predict(picture)
        for each in (model, segkit.load(tmp_path / "model.onnx"))
    )
    np.testing.assert_allclose(theirs.probabilities, ours.probabilities, atol=1e-5)
    np.testing.assert_allclose(theirs.entropy, ours.entropy, atol=1e-4)
    assert (theirs.labels == ours.labels).mean() > 0.999
    plain = segkit.Ensemble(list(model.members)).eval()
    plain.about = model.about
    untempered = segkit.Predictor(plain, precision="fp32").predict(picture)
    assert np.array_equal(untempered.labels, ours.labels)
    assert np.abs(untempered.probabilities - ours.probabilities).max() > 0.05
