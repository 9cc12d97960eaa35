"""The example in docs/ does what it says, without the toolkit."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

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
