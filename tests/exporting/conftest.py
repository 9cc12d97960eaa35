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
