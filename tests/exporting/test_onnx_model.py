"""An exported file in the place of a model: the same commands, the same answers."""

import copy
import json
import shutil
import sys

import cv2
import numpy as np
import onnx
import pytest

import segkit
from segkit.cli.main import main
from segkit.errors import ModelError, UsageError
from segkit.onnx_model import KEY

MODEL = "runs/demo/model"


@pytest.fixture
def folder(workplace, file):
    shutil.copy(file, workplace / "cells.onnx")
    return workplace


def altered(folder, text=None, **changes):
    """The file with another description, or none."""
    proto = onnx.load(folder / "cells.onnx")
    about = json.loads(proto.metadata_props[0].value)
    del proto.metadata_props[:]
    if text is not None or changes:
        onnx.helper.set_model_props(proto, {KEY: text if text is not None else json.dumps({**about, **changes})})
    onnx.save(proto, folder / "altered.onnx")
    return "altered.onnx"


@pytest.mark.parametrize("options", ["", "--tile 33 --overlap 0.5", "--tile 0 --tta flip"])
def test_predict_writes_what_the_model_writes(options, folder):
    for model, out in ((MODEL, "ours"), ("cells.onnx", "theirs")):
        line = f"predict {model} images slices -o {out} --probability --entropy {options}"
        assert main([*line.split(), *(["--precision", "fp32"] if model == MODEL else [])]) == 0
    names = sorted(path.relative_to(folder / "ours") for path in (folder / "ours").rglob("*_*.*"))
    assert len(names) == 12
    for name in names:
        ours, theirs = (cv2.imread(str(folder / out / name), cv2.IMREAD_UNCHANGED) for out in ("ours", "theirs"))
        steps = {np.dtype(np.uint16): 1e-4 * 65535, np.dtype(np.float32): 1e-4}.get(ours.dtype, 0)  # masks: equal
        assert np.abs(ours.astype(np.float64) - theirs).max() <= steps, name


def test_evaluate_gives_the_models_scores(folder, capsys):
    found = {}
    for model, how in ((MODEL, ["--precision", "fp32"]), ("cells.onnx", [])):
        assert main(["evaluate", model, "cells", "--json", "--threshold", "0.5", *how]) == 0
        found[model] = json.loads(capsys.readouterr().out)
    ours, theirs = found[MODEL], found["cells.onnx"]
    assert theirs["pooled"]["per_class"]["cell"] == pytest.approx(ours["pooled"]["per_class"]["cell"], abs=1e-4)
    assert theirs["calibration"]["ece"] == pytest.approx(ours["calibration"]["ece"], abs=1e-4)
    assert theirs["settings"] == ours["settings"]
    assert (theirs["members"], len(ours["members"])) == ({}, 2)


def test_both_are_compared_on_the_same_images(folder, capsys):
    assert main(["evaluate", MODEL, "cells.onnx", "cells", "--precision", "fp32"]) == 0
    assert "cells.onnx" in capsys.readouterr().out


def test_it_answers_as_a_model_does(file, ensemble):
    model = segkit.load(file)
    assert (model.classes, model.task, model.background, model.maps) == (ensemble.classes, "binary", 0, 1)
    assert (model.reader, model.about, model.takes_whole_images) == (ensemble.reader, ensemble.about, False)
    assert copy.deepcopy(model) is model
    assert len(model.digest) == 64


def test_settings_kept_with_the_model_are_kept_with_the_file(file):
    predictor = segkit.Predictor(segkit.load(file))
    assert (predictor.tile, predictor.overlap, predictor.threshold, predictor.precision) == (48, 0.25, 0.99, "fp32")


def test_the_members_can_t_disagree(folder, capsys):
    assert main(["predict", "cells.onnx", "images", "-o", "masks", "--disagreement"]) == 2
    expected = "an exported one is a single graph: take the model it was exported from"
    assert expected in capsys.readouterr().err


def test_another_precision_than_the_file_s_is_refused(file):
    with pytest.raises(UsageError, match="precision='bf16': this file computes in fp32, as it was exported"):
        segkit.Predictor(segkit.load(file), precision="bf16")


def test_a_file_of_somebody_elses(folder):
    with pytest.raises(ModelError, match=r"altered\.onnx: says nothing of its classes; only files made by 'segkit exp"):
        segkit.load(altered(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "{"}, r"altered\.onnx: its description is not readable JSON"),
        ({"format": 9}, r"altered\.onnx: its description has format 9, this segkit reads 2"),
        ({"task": "colour"}, r"altered\.onnx: its description is damaged at 'task': "),
    ],
)
def test_a_damaged_description(change, message, folder):
    with pytest.raises(ModelError, match=message):
        segkit.load(altered(folder, **change))


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_a_damaged_file(kept, folder, capsys):
    content = (folder / "cells.onnx").read_bytes()
    (folder / "cells.onnx").write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    assert main(["predict", "cells.onnx", "images", "-o", "masks"]) == 3
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: cells.onnx: ")


def test_a_graph_that_is_not_whole(folder):
    proto = onnx.load(folder / "cells.onnx")
    del proto.graph.node[len(proto.graph.node) // 2]
    onnx.save(proto, folder / "altered.onnx")
    with pytest.raises(ModelError, match=r"altered\.onnx: damaged \(.+\); export it again"):
        segkit.load("altered.onnx")


def test_no_file(folder):
    with pytest.raises(ModelError, match=r"none\.onnx: no such file"):
        segkit.load("none.onnx")


def test_without_onnxruntime_it_is_said_what_to_install(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r'onnxruntime is not installed; .* pip install "segkit\[export\]"'):
        segkit.load(file)


def test_a_program_of_torch_export_is_not_opened(tmp_path):
    (tmp_path / "m.pt2").touch()
    with pytest.raises(ModelError, match=r"m\.pt2: a program of torch\.export, which runs code when it is opened"):
        segkit.load(tmp_path / "m.pt2")


def test_a_file_is_not_judged_by_what_it_can_not_tell(taught, ensemble, tmp_path):
    ensemble = copy.copy(ensemble)
    ensemble.about = {**ensemble.about, "trust": taught}
    assert segkit.Predictor(ensemble).judge is not None
    segkit.export(ensemble, tmp_path / "cells.onnx")
    predictor = segkit.Predictor(segkit.load(tmp_path / "cells.onnx"))
    assert predictor.judge is None
    assert predictor.unjudged == "it was taught with the members' disagreement, which isn't known here"
