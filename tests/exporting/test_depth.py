"""Exported models with a second modality: what their graphs say with it, with holes in it, and without it."""

import json
import re
import shutil
import textwrap
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import segkit
from segkit.artifact import save
from segkit.cli.main import main
from segkit.data.depth import zoomed_depth
from segkit.data.depth_format import DepthFormat
from segkit.data.model_input import read_input
from segkit.ensemble import Ensemble
from segkit.errors import DataError
from segkit.exporting.check import random_depth
from segkit.exporting.int8 import inputs_of, pictures_for
from segkit.exporting.run import Exported
from segkit.exporting.traceable import zoomed_at_once
from segkit.model import Segmenter

STEM = {"name": "stem", "width": 4, "depth": 3}
ATTENTION = {"name": "attention", "width": 16, "heads": 2, "tokens": 4}
SIZES = [(1, 33, 33), (2, 50, 75), (1, 97, 240), (3, 64, 96), (1, 35, 130)]
CLASSES = ["background", "cell"]


def segmenter(seed=0, **options):
    """Every weight its own, so that bridges say something."""
    model = Segmenter.create(STEM, **{"classes": CLASSES, "neck": "fpn", **options}).eval()
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn(parameter.shape, generator=drawn))
    return model


def given(size, values=1, seed=0):
    """Pixels uint8 and depth float32, a third of it holes; the second picture of several has none."""
    rng = np.random.default_rng(seed)
    measured = rng.random((*size, 1)) > 0.2
    measured[:, 5:25, 8:] = False
    measured[1:2] = False
    depth = rng.uniform(0.5, 6, (*size, values)) * measured
    return rng.integers(0, 256, (*size, 3), np.uint8), np.concatenate([depth, measured], 3).astype(np.float32)


def said_by(model, pixels, depth=None):
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    planes = None if depth is None else torch.from_numpy(depth).permute(0, 3, 1, 2)
    with torch.no_grad():
        return model.probabilities(image, planes).numpy()


def check(path, model, values=1):
    """The file's probabilities with depth and without are the model's, and depth tells."""
    session = onnxruntime.InferenceSession(path)
    for size in SIZES:
        pixels, depth = given(size, values)
        (found,) = session.run(None, {"pixels": pixels, "depth": depth})
        (alone,) = session.run(None, {"pixels": pixels, "depth": np.zeros_like(depth)})
        assert np.abs(found - said_by(model, pixels, depth)).max() < 1e-4
        assert np.abs(alone - said_by(model, pixels)).max() < 1e-4
        np.testing.assert_allclose(found[1:2], alone[1:2], atol=1e-5)
        assert np.abs(found[0] - alone[0]).max() > 1e-3


@pytest.fixture(scope="module")
def model():
    return segmenter(depth=STEM, bridge="gated", depth_format=DepthFormat(unit="mm"))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The gated model as ONNX, by a tiny tile; don't write there."""
    model.about = {"predict": {"tile": 48, "overlap": 0.25}}
    return segkit.export(model, tmp_path_factory.mktemp("exported") / "depth.onnx")


@pytest.fixture
def dataset(tmp_path):
    """Pictures with depth in mm, but for the last one of the split test."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks", "depth"):
        (tmp_path / "cells" / folder).mkdir(parents=True)
    for name in "abcdef":
        for folder, values in (
            ("images", rng.integers(0, 256, (60, 70, 3), np.uint8)),
            ("masks", rng.integers(0, 2, (60, 70), np.uint8)),
            ("depth", rng.integers(0, 4000, (60, 70), np.uint16)),
        ):
            if (folder, name) != ("depth", "f"):
                cv2.imwrite(str(tmp_path / "cells" / folder / f"{name}.png"), values)
    splits = {"train": ["a", "b"], "val": ["c"], "test": ["d", "e", "f"]}
    described = {"classes": CLASSES, "splits": splits, "depth_unit": "mm"}
    (tmp_path / "cells" / "dataset.yaml").write_text(json.dumps(described))
    return tmp_path / "cells"


def test_the_graph_says_what_goes_in(exported):
    session = onnxruntime.InferenceSession(exported.path)
    pixels, depth = session.get_inputs()
    assert (pixels.name, pixels.type, pixels.shape) == ("pixels", "tensor(uint8)", ["batch", "height", "width", 3])
    assert (depth.name, depth.type, depth.shape) == ("depth", "tensor(float)", ["batch", "height", "width", 2])
    about = json.loads(session.get_modelmeta().custom_metadata_map["segkit"])
    assert about["depth"] == "metres"
    assert about["reader"]["depth"]["unit"] == "mm"
    assert about["agreement"]["difference"] < 1e-5


def test_a_gate_says_the_same_in_its_file(exported, model):
    check(exported.path, model)


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"depth": STEM, "bridge": "se", "encoding": {"name": "inverse", "mean": [0.4], "std": [0.2]}}, 1),
        pytest.param(
            {"depth": STEM, "bridge": ATTENTION, "encoding": {"name": "inverse", "per_picture": True}},
            1,
            marks=pytest.mark.slow,
        ),
        (
            {
                "depth": "stack",
                "depth_format": DepthFormat(unit="relative"),
                "depth_channels": 2,
                "encoding": {"name": "plain", "mean": [3.0, 3.0], "std": [2.0, 1.0]},
            },
            2,
        ),
        pytest.param({"depth": STEM, "bridge": "concat", "output_size": [12, 16]}, 1, marks=pytest.mark.slow),
    ],
    ids=["se", "attention", "stack", "coarse map"],
)
def test_every_way_to_take_depth_says_the_same_in_its_file(options, values, tmp_path):
    model = segmenter(**options)
    segkit.export(model, tmp_path / "m.onnx")
    check(tmp_path / "m.onnx", model, values)


def test_an_ensemble_of_a_colour_and_a_bridged_member_is_one_file(tmp_path):
    model = Ensemble([segmenter(), segmenter(1, depth=STEM)], [1, 2], temperatures=[0.8, 1.2]).eval()
    segkit.export(model, tmp_path / "m.onnx")
    check(tmp_path / "m.onnx", model)


def test_a_program_of_torch_export_takes_depth(model, tmp_path):
    extra = {"segkit.json": ""}
    path = segkit.export(model, tmp_path / "m.pt2", to="torch-export").path
    program = torch.export.load(path, extra_files=extra).module()
    for size in SIZES:
        pixels, depth = given(size)
        found = program(torch.from_numpy(pixels), torch.from_numpy(depth)).detach().numpy()
        assert np.abs(found - said_by(model, pixels, depth)).max() < 1e-5
    assert json.loads(extra["segkit.json"])["depth"] == "metres"


def test_the_loaded_file_takes_depth_as_a_model_does(exported, model):
    loaded = segkit.load(exported.path)
    assert loaded.reader == model.reader
    pixels, depth = given((2, 50, 75))
    image, planes = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255, torch.from_numpy(depth).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = model.statistics(image, planes)
        alone = model.probabilities(image)
    torch.testing.assert_close(loaded(image, planes), expected.probabilities, atol=1e-5, rtol=0)
    behind = loaded.statistics(torch.cat([image, planes], dim=1))
    torch.testing.assert_close(behind.entropy, expected.entropy, atol=1e-4, rtol=0)
    torch.testing.assert_close(loaded.probabilities(image), alone, atol=1e-5, rtol=0)
    both = Ensemble([loaded, segmenter()]).eval()
    with torch.no_grad():
        mean = (expected.probabilities + both.members[1].probabilities(image)) / 2
        torch.testing.assert_close(both.probabilities(image, planes), mean, atol=1e-5, rtol=0)


def test_depth_of_another_shape_or_for_a_file_of_images_alone_is_refused(exported, file):
    image = torch.zeros(1, 3, 40, 40)
    with pytest.raises(ValueError, match=r"got depth \[1, 1, 40, 40\] of images .* expected \[1, 2, 40, 40\]"):
        segkit.load(exported.path).probabilities(image, torch.zeros(1, 1, 40, 40))
    with pytest.raises(ValueError, match="this model takes images alone"):
        segkit.load(file).probabilities(image, torch.zeros(1, 2, 40, 40))


@pytest.mark.parametrize("tta", [None, "flip,1.25"])
def test_predictions_in_tiles_are_the_models(tta, exported, model, dataset):
    ours = segkit.Predictor(model, precision="fp32", tta=tta)
    theirs = segkit.Predictor(segkit.load(exported.path), tta=tta)
    assert theirs.tile == 48
    picture, depth = dataset / "images" / "a.png", dataset / "depth" / "a.png"
    expected, found = (predictor.predict(picture, depth=depth) for predictor in (ours, theirs))
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    assert np.abs(found.probabilities - theirs.predict(picture).probabilities).max() > 1e-2


def test_commands_take_the_file_in_the_place_of_the_model(exported, model, dataset, monkeypatch, capsys):
    monkeypatch.chdir(dataset.parent)
    save(model, "model")
    scores, masks = [], []
    for name, out, how in (("model", "ours", ["--precision", "fp32"]), (str(exported.path), "theirs", [])):
        line = f"predict {name} cells/images -o {out} --depth cells/depth --probability"
        assert main([*line.split(), *how]) == 0
        assert "note: 1 of them without depth" in capsys.readouterr().out
        masks.append([cv2.imread(str(path), -1).astype(float) for path in sorted((dataset.parent / out).rglob("*.*g"))])
        assert main(["evaluate", name, "cells", "--json", *how]) == 0
        scores.append(json.loads(capsys.readouterr().out)["pooled"]["per_class"]["cell"])
    assert len(masks[0]) == len(masks[1]) >= 12
    assert max(np.abs(ours - theirs).max() for ours, theirs in zip(*masks, strict=True)) <= 1e-4 * 65535
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_the_page_feeds_depth_as_it_says(exported, model, dataset, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"would be fed like this:\n\n((?: {4}.*\n)+)", page)
    monkeypatch.chdir(dataset)
    shutil.copy("depth/a.png", "depth.png")
    pixels = np.asarray(Image.open("images/a.png"))
    names = {"np": np, "Image": Image, "session": onnxruntime.InferenceSession(exported.path), "pixels": pixels}
    exec(compile(textwrap.dedent(code), "export.md", "exec"), names)
    whole = segkit.Predictor(model, precision="fp32", tile=None, tta=None)
    expected = whole.predict("images/a.png", depth="depth/a.png").probabilities
    np.testing.assert_allclose(names["maps"], expected, atol=1e-5)


def test_the_command_says_that_depth_goes_in(exported, capsys, monkeypatch):
    monkeypatch.setattr("segkit.artifact.load_segmentation", lambda _: None)
    monkeypatch.setattr("segkit.exporting.run.export", lambda *_, **__: Exported(exported.path, exported.description))
    assert main(["export", "model", "-o", "m.onnx"]) == 0
    expected = (
        "uint8 [batch, height, width, 3] and depth float32 [batch, height, width, 2], metres and validity, → probab"
    )
    assert expected in capsys.readouterr().out


def test_eight_bits_are_chosen_and_measured_with_depth(exported, model, dataset, monkeypatch, tmp_path):
    from segkit.onnx_model import from_image

    graph = from_image(onnx.load(exported.path))
    monkeypatch.setattr("segkit.exporting.run.image_graph", lambda *_: graph)
    done = segkit.export(model, tmp_path / "small.onnx", int8=dataset, images=4)
    assert (done.cost.truth, done.cost.pictures, done.description.precision) == ("masks", 3, "int8")
    expected = segkit.evaluate(model, dataset, split="test", precision="fp32").metrics["pooled"]["per_class"]["cell"]
    assert done.cost.fp32 == pytest.approx(expected["dice"], abs=1e-3)
    small = segkit.load(tmp_path / "small.onnx")
    pixels, depth = given((2, 48, 48))
    found = said_by(small, pixels, depth)
    assert np.abs(found - said_by(model, pixels, depth)).mean() < 0.05
    np.testing.assert_allclose(found[1], said_by(small, pixels)[1], atol=1e-6)


def test_ranges_are_chosen_by_the_middle_of_pictures_that_have_depth(exported, model, dataset):
    (dataset / "depth" / "a.png").unlink()
    pictures = pictures_for(dataset, 4, model)
    assert [path.name for path in pictures.calibration] == ["b.png"]
    assert [path.name for path in pictures.held_out] == ["d.png", "e.png", "f.png"]
    (inputs,) = inputs_of(pictures.calibration, pictures, segkit.load(exported.path))
    whole = read_input(pictures.dataset, pictures.dataset.files["b"], model.reader)[6:54, 11:59]
    assert np.array_equal(inputs["image"][0], whole[..., :3].transpose(2, 0, 1))
    assert np.array_equal(inputs["depth"][0], whole[..., 3:])


def test_eight_bits_without_depth_are_refused(model, dataset):
    with pytest.raises(DataError, match=r"images: the model takes depth, so int8 needs a dataset with images/, masks/"):
        pictures_for(dataset / "images", 4, model)
    for name in "ab":
        (dataset / "depth" / f"{name}.png").unlink()
    with pytest.raises(DataError, match="no picture of the split train has depth, and int8 needs it to choose ranges"):
        pictures_for(dataset, 4, model)


def test_random_depth_has_holes_and_a_picture_without():
    for options in ({}, {"depth_format": DepthFormat(unit="relative"), "depth_channels": 3}):
        drawn = random_depth(segmenter(depth=STEM, **options), (2, 64, 97), seed=0)
        values, valid = drawn[..., :-1], drawn[..., -1]
        assert drawn.shape == (2, 64, 97, options.get("depth_channels", 1) + 1)
        assert not drawn[1].any()
        assert 0.5 < valid[0].mean() < 0.9
        assert not values[valid == 0].any()
        if not options:
            assert 0.5 <= values[valid == 1].min() < values.max() <= 10


@pytest.mark.parametrize("metric", [True, False])
@pytest.mark.parametrize("size", [(33, 47), (16, 24), (66, 94), (20, 60), (96, 128)])
def test_zooming_at_once_is_zooming(size, metric):
    depth = torch.from_numpy(given((2, 33, 47))[1]).permute(0, 3, 1, 2)
    expected = zoomed_depth(depth, size, metric).clone()
    torch.testing.assert_close(zoomed_at_once(depth, size, metric=metric), expected)
    depth[:, :1] = depth[:, :1].where(depth[:, 1:] > 0, torch.nan)
    torch.testing.assert_close(zoomed_at_once(depth, size, metric=metric), expected)
