"""The example in docs/ does what it says, without the toolkit."""

import ast
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import segkit

EXAMPLE = Path(__file__).parents[2] / "docs" / "onnx_example.py"


def test_it_is_short_and_needs_three_libraries():
    text = EXAMPLE.read_text(encoding="utf-8")
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in imported}
    assert names - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "PIL"}
    assert len(text.splitlines()) <= 20


def test_its_mask_is_the_models(workplace, file, ensemble):
    shutil.copy(file, workplace / "model.onnx")
    picture = workplace / "images" / "well_01.png"
    subprocess.run([sys.executable, EXAMPLE, "model.onnx", picture, "mask.png"], check=True)
    labels = segkit.Predictor(ensemble, tile=None, precision="fp32").predict(picture).labels
    assert np.array_equal(cv2.imread("mask.png", cv2.IMREAD_GRAYSCALE) > 0, labels.astype(bool))
    assert labels.any() or not cv2.imread("mask.png", cv2.IMREAD_GRAYSCALE).any()


def write_model(task, channels, classes):
    """An exported file whose maps are the channels themselves."""
    sides = ["batch", "height", "width"]
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["turned"], ["probabilities"], to=TensorProto.FLOAT),
    ]
    given = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [*sides, channels])
    maps = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [sides[0], channels, *sides[1:]])
    model = helper.make_model(
        helper.make_graph(nodes, "colours", [given], [maps]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    about = {"task": task, "classes": classes, "reader": {"channels": channels}, "about": {}}
    helper.set_model_props(model, {"segkit": json.dumps(about)})
    onnx.save(model, "model.onnx")


@pytest.fixture
def example(tmp_path, monkeypatch):
    """A function that runs it on a picture of a red and a green pixel, and gives the mask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "model.onnx", "picture.png", "mask.png"])
    cv2.imwrite("picture.png", np.array([[[0, 0, 255], [0, 255, 0]]], np.uint8))

    def run():
        runpy.run_path(str(EXAMPLE))
        return cv2.imread("mask.png", cv2.IMREAD_GRAYSCALE).tolist()

    return run


def test_the_greys_of_classes_are_the_same_whatever_is_in_a_picture(example):
    write_model("multiclass", 3, ["road", "sky", "tree"])
    assert example() == [[0, 127]]


def test_a_binary_mask_is_black_and_white(example):
    write_model("binary", 1, ["background", "cell"])
    cv2.imwrite("picture.png", np.array([[0, 9]], np.uint8))
    assert example() == [[0, 255]]


@pytest.mark.parametrize(("task", "channels"), [("multilabel", 3), ("multiclass", 5)])
def test_other_models_are_refused_in_one_line(example, task, channels):
    write_model(task, channels, ["a", "b", "c"])
    with pytest.raises(SystemExit, match=r"^picture\.png: mode RGB; this takes 8-bit pictures, and models of one mask"):
        example()
