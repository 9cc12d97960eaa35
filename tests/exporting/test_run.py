import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import segkit
from segkit import Ensemble, Segmenter
from segkit.cli.main import main
from segkit.data.slices import Slices
from segkit.errors import ModelError, UsageError

SIZES = [(1, 33, 33), (2, 300, 301), (1, 97, 513), (3, 64, 96), (1, 35, 200)]
CLASSES = ["background", "cell"]


def stem(**options):
    torch.manual_seed(0)
    return Segmenter.create({"name": "stem", "width": 4}, neck="unet", **{"classes": CLASSES, **options}).eval()


def noise(size, channels=3, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)


def said_by(model, pixels):
    """The model's probabilities of pixels, scaled by its reader picture by picture."""
    image = np.stack([model.reader.scale(picture) for picture in pixels]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        return model.probabilities(torch.from_numpy(np.ascontiguousarray(image))).numpy()


def largest_difference(path, model, sizes, dtype=np.uint8):
    session = onnxruntime.InferenceSession(path)
    given = [noise(size, model.reader.channels, dtype) for size in sizes]
    return max(np.abs(session.run(None, {"pixels": pixels})[0] - said_by(model, pixels)).max() for pixels in given)


def test_the_file_alone_turns_bytes_into_the_ensembles_probabilities_at_any_size(file, ensemble):
    assert largest_difference(file, ensemble, SIZES) < 1e-5


def test_the_graph_says_what_goes_in_and_what_comes_out(file):
    session = onnxruntime.InferenceSession(file)
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("pixels", "tensor(uint8)", ["batch", "height", "width", 3])
    assert (found.name, found.type, found.shape) == ("probabilities", "tensor(float)", ["batch", 1, "height", "width"])


def test_it_is_one_file_of_a_recorded_opset(file):
    assert [path.name for path in file.parent.iterdir()] == ["cells.onnx"]
    assert [entry.version for entry in onnx.load(file).opset_import if entry.domain == ""] == [18]


def test_the_file_knows_what_the_model_knows(file, ensemble, prepared):
    about = json.loads(onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map["segkit"])
    saved = json.loads((prepared / "runs" / "demo" / "model" / "segkit.json").read_text())
    assert about["classes"] == CLASSES
    assert (about["task"], about["background"], about["kind"]) == ("binary", 0, "ensemble")
    nothing = dict.fromkeys(("window", "slices", "depth", "mpp"))
    assert about["reader"] == {"channels": 3, "depth_channels": 0, **nothing}
    assert about["about"] == ensemble.about
    assert about["members"] == {member["name"]: member["sha256"] for member in saved["members"]}
    assert (about["format"], about["opset"], about["pixels"], about["precision"]) == (2, 18, "uint8", "fp32")
    assert about["agreement"]["difference"] < 1e-5
    assert len(about["agreement"]["sizes"]) == 5


def test_a_file_that_says_something_else_is_refused_with_the_figure_and_not_left(quick, tmp_path):
    with pytest.raises(ModelError, match=r"differs from the model by up to 0\.\d+ in a probability, more than 0\.0001"):
        segkit.export(stem(), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_gives_other_maps_is_refused(quick, tmp_path):
    with pytest.raises(ModelError, match=r"gives \[1, 1, 33, 33\], the model \[1, 3, 33, 33\]"):
        segkit.export(stem(classes=3), tmp_path / "m.onnx")


def test_a_program_of_torch_export_holds_weights_and_description(tmp_path):
    model = Ensemble([stem(), stem(mean=[0.1] * 3, std=[0.5] * 3)], [1, 3]).eval()
    path = segkit.export(model, tmp_path / "m.pt2", to="torch-export").path
    extra = {"segkit.json": ""}
    program = torch.export.load(path, extra_files=extra).module()
    for size in SIZES:
        pixels = noise(size)
        assert np.abs(program(torch.from_numpy(pixels)).detach().numpy() - said_by(model, pixels)).max() < 1e-5
    about = json.loads(extra["segkit.json"])
    assert (about["opset"], about["classes"], list(about["members"])) == (None, CLASSES, ["member_0", "member_1"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.onnx", {"to": "tflite"}, "to='tflite': expected one of onnx, torch-export"),
        ("m.pt2", {}, r"m\.pt2: expected a name that ends in \.onnx"),
        ("m.onnx", {"pixels": "int8"}, "pixels='int8': expected one of uint8, uint16, float32"),
        ("m.pt2", {"to": "torch-export", "int8": "pictures"}, "int8 is for ONNX"),
        ("m.onnx", {"images": 0}, "images=0: expected 1 or more pictures"),
        ("m.onnx", {"images": 2.5, "int8": "pictures"}, r"images=2\.5: expected 1 or more pictures"),
        ("m.onnx", {"images": "3"}, "images='3': expected 1 or more pictures"),
        ("m.onnx", {"int8": 5}, "int8: got int; expected the name of a file or folder"),
        ("m.onnx", {"int8": ""}, "int8: got ''; expected the name of a file or folder"),
    ],
)
def test_what_can_t_be_asked_for(name, options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        segkit.export(stem(), tmp_path / name, **options)


def test_pixels_that_can_not_hold_the_window_are_refused(tmp_path):
    model = segkit.Segmenter.create("stem", neck="unet", classes=2, in_channels=1, window=(-150, 250))
    for pixels in ("uint8", "uint16"):
        with pytest.raises(
            UsageError, match=f"pixels={pixels}: the model's window is -150 to 250, which they can't hold"
        ):
            segkit.export(model, tmp_path / "m.onnx", pixels=pixels)


def test_what_was_exported_can_t_be_exported_again(file, tmp_path):
    with pytest.raises(UsageError, match="OnnxModel can't be exported; give a Segmenter or an Ensemble"):
        segkit.export(segkit.load(file), tmp_path / "m.onnx")


def test_a_model_too_large_for_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr("segkit.exporting.onnx_file.LARGEST_FILE", 1000)
    with pytest.raises(UsageError, match=r"GB, one ONNX file holds 2; export it with --to torch-export"):
        segkit.export(stem(), tmp_path / "m.onnx")


def test_exporting_leaves_the_model_as_it_was(quick, tmp_path, ensemble):
    before = {name: tensor.clone() for name, tensor in ensemble.state_dict().items()}
    ensemble.train()
    try:
        segkit.export(ensemble, tmp_path / "m.onnx")
        assert ensemble.training
    finally:
        ensemble.eval()
    after = ensemble.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_model_without_a_graph_for_every_size_is_one_line(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("sizes differ\nand more")

    monkeypatch.setattr("torch.export.export", fail)
    with pytest.raises(UsageError, match=r"^the model has no graph for every size: sizes differ and more$"):
        segkit.export(stem(), tmp_path / "m.onnx")


def test_a_file_that_the_runtime_can_t_run_at_some_size_is_not_written(quick, ensemble, tmp_path, monkeypatch):
    def fail(_pixels):
        raise RuntimeError("indices out of bounds\nand more")

    monkeypatch.setattr("segkit.exporting.run.open_onnx", lambda _path: fail)
    message = r"fails on a batch of 1, 33 × 33 pixels: not written. The runtime says: indices out of bounds and more$"
    with pytest.raises(ModelError, match=message):
        segkit.export(ensemble, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r'onnxruntime is not installed; .* pip install "segkit\[export\]"'):
        segkit.export(stem(), tmp_path / "m.onnx")


FAMILIES = {
    "swin": {"backbone": {"name": "swin", "embed_dim": 8, "depths": [2, 2], "heads": [1, 2]}, "stem": 4},
    "swin, padding masked": {
        "backbone": {"name": "swin", "embed_dim": 8, "depths": [2, 2], "heads": [1, 2], "mask_padding": True},
        "neck": {"name": "fpn", "width": 8},
    },
    "resnet": {"backbone": "resnet18", "neck": {"name": "upernet", "width": 8}},
    "alexnet": {"backbone": "alexnet", "neck": "coarsest", "head": {"name": "upsample", "doublings": 2}},
    "densenet": {"backbone": {"name": "densenet121", "levels": [0, 1, 2]}, "neck": "attention_unet"},
    "inception": {"backbone": "inception_v3", "neck": {"name": "fpn", "width": 8}, "head": "pixelshuffle"},
    "squeezenet": {"backbone": "squeezenet1_1", "neck": "unet", "head": "linear"},
    "vgg": {"backbone": {"name": "vgg19_bn", "levels": [0, 1, 2]}, "neck": {"name": "fpn", "width": 8}},
    "resdeconv": {"backbone": {"name": "resdeconv", "width": 4}, "neck": "unetplusplus"},
    "timm": {"backbone": "timm:convnext_atto", "neck": "unet", "head": "transposed"},
    "smp": {"backbone": "smp:mit_b0", "neck": "unet"},
    "coarse map": {"backbone": "resnet18", "neck": {"name": "fpn", "width": 8}, "output_size": [12, 16]},
    "multiclass, grey": {"backbone": {"name": "stem", "width": 4}, "classes": 4, "in_channels": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_exports_for_every_size(family, tmp_path):
    torch.manual_seed(0)
    model = Segmenter.create(**{"classes": CLASSES, **FAMILIES[family]}).eval()
    segkit.export(model, tmp_path / "m.onnx")
    assert largest_difference(tmp_path / "m.onnx", model, SIZES) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("window", [(100.0, 40000.0), "picture"])
def test_sixteen_bits_with_a_window_inside(window, tmp_path):
    model = stem(window=window, in_channels=1)
    segkit.export(model, tmp_path / "m.onnx", pixels="uint16")
    assert largest_difference(tmp_path / "m.onnx", model, SIZES, np.uint16) < 1e-4


def test_what_is_done_around_the_graph_is_said(tmp_path, capsys):
    model = stem(mpp=0.5)
    model.about = {"predict": {"tile": 64, "tta": "flip", "postprocess": {"holes": {"cell": "all"}}}}
    segkit.save(model, tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), "-o", str(tmp_path / "a.pt2"), "--to", "torch-export"]) == 0
    said = (
        "not inside, for other programs to do: bringing pictures to 0.5 microns per pixel, tiles of 64, "
        "the mean over views (flip), postprocessing"
    )
    assert said in capsys.readouterr().out.splitlines()


def test_what_each_volume_needs_is_said_to_be_outside(tmp_path, capsys):
    segkit.save(stem(slices=Slices(planes=("axial", "coronal")), window="picture"), tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), "-o", str(tmp_path / "a.pt2"), "--to", "torch-export"]) == 0
    said = (
        "not inside, for other programs to do: scaling each volume's own intensities to 0..1, the mean over planes "
        "(axial, coronal)"
    )
    assert any(line.startswith(said) for line in capsys.readouterr().out.splitlines())


def test_where_nothing_can_be_written_nothing_is_traced(tmp_path, monkeypatch):
    monkeypatch.setattr("segkit.exporting.run.image_graph", lambda *_: pytest.fail("traced"))
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(UsageError, match=r"m\.onnx: a folder; name the file to write"):
        segkit.export(stem(), tmp_path / "m.onnx")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file: can't write there \(Not a directory\)"):
        segkit.export(stem(), tmp_path / "file" / "m.onnx")
