"""One exported file, made once by the real command: the working folder's ensemble of a Swin and a stem."""

import pytest

import segkit
from segkit.cli.main import main


@pytest.fixture(scope="session")
def ensemble(prepared):
    return segkit.load(prepared / "runs" / "demo" / "model")


@pytest.fixture(scope="session")
def file(prepared, tmp_path_factory):
    """The ensemble as ONNX; don't write there."""
    path = tmp_path_factory.mktemp("exported") / "cells.onnx"
    assert main(["export", str(prepared / "runs" / "demo" / "model"), "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def graph(file):
    """The file's graph from the scaled image on."""
    import onnx

    from segkit.onnx_model import from_image

    return from_image(onnx.load(file))


@pytest.fixture
def quick(graph, monkeypatch):
    """Exporting without tracing: whatever the model, its graph is the ensemble's."""
    import onnx

    def copied(*_):
        copy = onnx.ModelProto()
        copy.CopyFrom(graph)
        return copy

    monkeypatch.setattr("segkit.exporting.run.image_graph", copied)


@pytest.fixture
def taught():
    """What an ensemble is taught to judge its predictions by."""
    names = [
        *("expected_dice", "least_expected_dice", "entropy", "entropy_inside", "disagreement", "disagreement_inside"),
        *("foreground", "anything"),
    ]
    quality = {"signs": names, "centre": [0.0] * 8, "scale": [1.0] * 8, "slopes": [0.0] * 8, "intercept": 0.9}
    figures = {
        "errors": [0.0],
        "shares": [0.5],
        "cut": 0.5,
        "accepted": 1.0,
        "worse": 0.0,
        "correlation": None,
        "mean_error": 0.0,
    }
    judge = {"ranges": [], "good": 0.8, "risk": 0.2, "disagrees": True}
    settings = {"tile": 48, "tta": None, "threshold": 0.99}
    return {
        "quality": {**quality, **figures, "mean_error": 0.0, "images": 20, "units": 20},
        **judge,
        "settings": settings,
    }
