import copy
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import segkit
from segkit.cli.main import main
from segkit.errors import DataError, ModelError
from segkit.exporting.int8 import images_of, last_layers, pictures_for

PREDICT = "export runs/demo/model -o small.onnx --images 2"


def test_its_cost_against_the_masks_of_a_dataset(quick, workplace, capsys):
    assert main([*PREDICT.split(), "--int8", "cells", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    cost = told["int8"]
    assert (told["precision"], cost["truth"], cost["score"], cost["pictures"]) == ("int8", "masks", "Dice of cell", 1)
    assert 0 <= cost["int8"] <= 1
    exact = segkit.evaluate("runs/demo/model", "cells", precision="fp32").metrics["pooled"]["per_class"]["cell"]["dice"]
    assert cost["fp32"] == pytest.approx(exact, abs=1e-4)
    assert cost["int8_seconds"] > 0


def test_of_plain_pictures_every_second_one_is_held_out_and_fp32_is_the_truth(quick, workplace, capsys):
    assert main([*PREDICT.split(), "--int8", "cells/images"]) == 0
    opset, difference, outside, score, speed = capsys.readouterr().out.splitlines()
    assert opset.startswith("small.onnx: opset 18, ")
    assert opset.endswith(" MB, uint8 [batch, height, width, 3] → probabilities of cell")
    assert difference.startswith("largest difference from the model in float32, on 5 sizes: ")
    assert outside == "not inside, for other programs to do: tiles of 48"
    assert score.startswith("int8: Dice of cell ")
    assert score.endswith("(+0.00 points, 2 held-out pictures)") or " against the labels in float32, 1.0000 in" in score
    assert speed.startswith("int8: ")


def test_the_file_computes_in_eight_bits_and_says_nearly_the_same(quick, workplace, ensemble, taught):
    ensemble = copy.copy(ensemble)
    ensemble.about = {**ensemble.about, "trust": taught}
    done = segkit.export(ensemble, "small.onnx", int8="cells", images=4)
    assert "trust" not in done.description.about
    ensemble.about = {key: value for key, value in ensemble.about.items() if key != "trust"}
    kinds = [node.op_type for node in onnx.load("small.onnx").graph.node]
    assert kinds.count("DequantizeLinear") > kinds.count("QuantizeLinear") > 0
    assert done.description.precision == "int8"
    small = segkit.load("small.onnx")
    assert segkit.Predictor(small).precision == "int8"
    image = cells_image(workplace)
    found, exact = (segkit.Predictor(model, precision="auto").predict(image) for model in (small, ensemble))
    assert np.abs(found.probabilities - exact.probabilities).mean() < 0.02


def cells_image(workplace):
    return workplace / "images" / "well_01.png"


def test_what_gives_the_logits_of_each_member_stays_in_float32(graph):
    kept = last_layers(graph)
    assert len(kept) == 2
    assert len([node for node in graph.graph.node if node.op_type == "Conv"]) > 10


def test_ranges_are_chosen_by_the_middle_of_pictures(workplace, file):
    (image,) = images_of([cells_image(workplace)], segkit.load(file))
    whole = segkit.load(file).reader.read(cells_image(workplace))
    assert np.array_equal(image[0], whole[8:56, 8:56].transpose(2, 0, 1))


def test_pictures_are_evenly_spread_and_never_in_both(workplace):
    found = pictures_for(workplace / "cells" / "images", 2, segkit.load("runs/demo/model"))
    names = sorted(path.name for path in (workplace / "cells" / "images").iterdir())
    assert [path.name for path in found.calibration] == names[:6:4]
    assert [path.name for path in found.held_out] == names[1:6:4]


@pytest.mark.parametrize(("folder", "message"), [("nowhere", "no such folder"), ("empty", "0 pictures")])
def test_too_few_pictures(folder, message, workplace):
    (workplace / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        pictures_for(Path(folder), 4, segkit.load("runs/demo/model"))


def test_a_dataset_of_other_classes_or_without_both_splits_is_refused(workplace):
    model, yaml = segkit.load("runs/demo/model"), workplace / "cells" / "dataset.yaml"
    described = {"classes": ["background", "cell"], "splits": {"train": segkit.open_dataset("cells").splits["train"]}}
    yaml.write_text(json.dumps(described))
    with pytest.raises(DataError, match=r"int8 needs pictures in the split train, .* and in test or val"):
        pictures_for(Path("cells"), 4, model)
    described["classes"] = ["background", "cell", "other"]
    yaml.write_text(json.dumps(described))
    with pytest.raises(ModelError, match=r"the model's task is binary, that of .* is multiclass"):
        pictures_for(Path("cells"), 4, model)
