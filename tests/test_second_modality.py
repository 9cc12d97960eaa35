"""Models with depth: what they say with it, without it, and before they have learnt anything."""

import copy
import json
import math
import re

import numpy as np
import pytest
import torch

import segkit
from segkit.artifact import load, save
from segkit.data.depth_format import DepthFormat
from segkit.ensemble import Ensemble
from segkit.errors import ModelError, UsageError
from segkit.model import Segmenter

STEM = {"name": "stem", "width": 4, "depth": 3}
BRIDGES = ("concat", "se", "gated", "attention")


def segmenter(**options):
    return Segmenter.create(STEM, **{"classes": 3, "neck": "fpn", **options})


def stirred(model, seed=0):
    """Every weight its own, so that bridges say something."""
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn(parameter.shape, generator=drawn))
    return model


def picture(seed=0, batch=2, size=(33, 47)):
    drawn = torch.Generator().manual_seed(seed)
    image, depth = torch.rand(batch, 3, *size, generator=drawn), torch.rand(batch, 2, *size, generator=drawn)
    depth[:, 1] = (depth[:, 1] > 0.4).float()
    depth[:, 0] *= depth[:, 1]
    return image, depth


def of_colour(state):
    return {name.replace("backbone.", "backbone.colour.", 1): tensor for name, tensor in state.items()}


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_new_one_says_what_the_colour_model_says_to_the_bit(bridge):
    colour = stirred(segmenter()).eval()
    bridged = segmenter(depth=STEM, bridge=bridge).eval()
    assert not bridged.load_state_dict(of_colour(colour.state_dict()), strict=False).unexpected_keys
    image, depth = picture()
    with torch.no_grad():
        for low in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                assert torch.equal(bridged(image, depth), colour(image))


@pytest.mark.parametrize("bridge", BRIDGES)
def test_one_step_moves_both_branches_and_the_bridges(bridge):
    model = segmenter(depth=STEM, bridge=bridge, depth_auxiliary=True).train()
    before = copy.deepcopy(model.state_dict())
    image, depth = picture()
    main, own = model.forward_levels(image, depth)
    assert own.shape == main.shape
    (main.square().mean() + own.square().mean()).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    for part in ("backbone.colour.layers.0", "backbone.depth.layers.0", "backbone.bridges", "neck", "head"):
        assert any(name.startswith(part) for name in moved), part


@pytest.mark.parametrize("depth", [STEM, "stack"])
def test_absent_depth_is_no_depth_to_the_bit(depth):
    model = stirred(segmenter(depth=depth)).eval().double()
    image, given = (part.double() for part in picture())
    absent = given.clone()
    absent[0, 1] = 0
    with torch.no_grad():
        alone, mixed, whole = model(image), model(image, absent), model(image, given)
        assert torch.equal(model(image, torch.zeros_like(given)), alone)
    torch.testing.assert_close(mixed[0], alone[0])
    torch.testing.assert_close(mixed[1], whole[1])
    assert not torch.allclose(whole[1], alone[1])


def test_absent_rows_get_no_auxiliary_logits_and_teach_nothing():
    model = segmenter(depth=STEM, depth_auxiliary=True).train()
    image, depth = picture()
    depth[0] = 0
    _, own = model.forward_levels(image, depth)
    assert not own[0].any()
    assert own[1].any()
    own[0].sum().backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_depth_may_come_behind_the_image():
    model = stirred(segmenter(depth=STEM)).eval()
    image, depth = picture()
    with torch.no_grad():
        assert torch.equal(model(torch.cat([image, depth], dim=1)), model(image, depth))
        assert torch.equal(
            model.statistics(torch.cat([image, depth], 1)).entropy, model.statistics(image, depth).entropy
        )


def test_frozen_colour_leaves_depth_and_bridges_to_learn():
    model = segmenter(depth=STEM, depth_auxiliary=True)
    model.freeze("colour")
    learning = {
        name.split(".")[0] + "." + name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad
    }
    assert learning == {"backbone.depth", "backbone.bridges", "auxiliary.0"}
    model.train()
    assert not model.neck.training
    assert not model.backbone.colour.training
    assert model.backbone.depth.training
    model.freeze(0)
    assert all(p.requires_grad for p in model.parameters())
    assert model.train().backbone.colour.training
    with pytest.raises(ValueError, match="freeze='colour': the model has no depth backbone"):
        segmenter().freeze("colour")


def test_depth_starts_from_the_colour_backbone():
    model = segmenter(depth={**STEM, "weights": "colour"})
    colour, depth = model.backbone.colour.state_dict(), model.backbone.depth.state_dict()
    first = next(iter(colour))
    torch.testing.assert_close(depth[first][:, :1], colour[first].sum(1, keepdim=True))
    assert not depth[first][:, 1:].any()
    assert all(torch.equal(depth[name], tensor) for name, tensor in colour.items() if name != first)


def test_normals_are_built_saved_and_loaded(tmp_path):
    encoding = {"name": "normals", "focal": (60.0, 50.0), "mean": [2.0], "std": [0.5]}
    model = stirred(segmenter(depth=STEM, encoding=encoding)).eval()
    save(model, tmp_path / "model")
    image, depth = picture()
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "model")(image, depth), model(image, depth))
        assert not torch.allclose(model(image, depth), model(image))


@pytest.mark.parametrize("depth", [STEM, "stack"])
def test_saved_and_loaded_it_is_the_same(tmp_path, depth):
    meaning = DepthFormat(unit="0.1mm")
    model = stirred(
        segmenter(
            depth=depth, bridge="gated", depth_format=meaning, encoding={"name": "inverse", "mean": [2.0], "std": [0.5]}
        )
    ).eval()
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.reader == model.reader
    assert again.reader.depth == meaning
    image, given = picture()
    with torch.no_grad():
        assert torch.equal(again(image, given), model(image, given))


def test_a_saved_model_brings_no_code_by_its_depth_or_bridge(tmp_path):
    save(segmenter(depth=STEM).eval(), tmp_path / "model")
    file = tmp_path / "model" / "segkit.json"
    for part in ("depth", "bridge"):
        values = json.loads(file.read_text())
        values["members"][0]["architecture"][part] = {"name": "somebody.module:Class"}
        changed = tmp_path / part
        save(segmenter(depth=STEM).eval(), changed)
        values["members"][0].update(
            {key: json.loads((changed / "segkit.json").read_text())["members"][0][key] for key in ("file", "sha256")}
        )
        (changed / "segkit.json").write_text(json.dumps(values))
        with pytest.raises(ModelError, match=f"has the {part} 'somebody.module:Class', code that is not part"):
            load(changed)


def test_members_with_and_without_depth_go_together():
    colour, bridged = stirred(segmenter()).eval(), stirred(segmenter(depth=STEM), 1).eval()
    image, depth = picture()
    both = Ensemble([colour, bridged]).eval()
    with torch.no_grad():
        expected = (colour.probabilities(image) + bridged.probabilities(image, depth)) / 2
        torch.testing.assert_close(both.probabilities(image, depth), expected)
        torch.testing.assert_close(both.probabilities(torch.cat([image, depth], dim=1)), expected)
        alone = (colour.probabilities(image) + bridged.probabilities(image)) / 2
        torch.testing.assert_close(both.probabilities(image), alone)
    with pytest.raises(ValueError, match="this ensemble's members take images alone"):
        Ensemble([colour]).probabilities(image, depth)
    other = segmenter(depth=STEM, depth_format=DepthFormat(unit="relative"))
    with pytest.raises(
        UsageError, match=r"members 'member_1' and 'member_0' differ in depth_unit \(\"relative\" and \"m\"\)"
    ):
        Ensemble([bridged, other])
    other = segmenter(depth=STEM, depth_format=DepthFormat(unit="m", invalid=(0, 65.535)))
    said = (
        "members 'deep' and 'both' differ in depth_invalid ([0.0, 65.535] and [0.0]); an ensemble reads each picture "
    )
    with pytest.raises(UsageError, match=re.escape(said)):
        Ensemble([colour, bridged, other], names=["colour", "both", "deep"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"encoding": "metres"},
            "encoding and depth_format are of a second modality; name a backbone for it by depth=",
        ),
        ({"depth": "resnet19"}, "no backbone is called 'resnet19'; did you mean 'resnet18'"),
        ({"depth": STEM, "bridge": "gate"}, "no bridge is called 'gate'; did you mean 'gated'"),
        ({"depth": STEM, "bridge": {"name": "se", "levels": [7]}}, "levels is \\[7\\]; expected rising indices"),
        ({"depth": STEM, "encoding": "metre"}, "encoding: no kind 'metre'; there are metres"),
        ({"depth": STEM, "bridge": {"name": "se", "levels": 1}}, "bridge: levels is 1; expected rising indices"),
        ({"depth": {**STEM, "widht": 8}}, "depth: backbone 'stem' has no option 'widht'"),
        (
            {"depth": STEM, "encoding": "inverse", "depth_format": DepthFormat(unit="relative")},
            "encoding 'inverse' is of metres, but depth is relative; take plain",
        ),
        ({"depth": {"name": "stack", "width": 4}}, "depth 'stack' has no width: it has no backbone of its own"),
        ({"depth": STEM, "encoding": "normals"}, "normals need the focal lengths"),
        ({"depth": STEM, "encoding": {"name": "metres", "mean": [math.nan]}}, r"numbers, above 0 .* not \[nan\]"),
        ({"depth": STEM, "encoding": {"name": "metres", "std": [math.inf]}}, r"numbers, above 0 .* \[inf\]"),
        (
            {"depth": STEM, "encoding": {"name": "metres", "focal": [60, 60]}},
            "focal is for normals; leave it out of metres",
        ),
        ({"depth": STEM, "encoding": {"name": "normals", "focal": [60.0]}}, r"focal is \[60.0\]; expected \[fx, fy\]"),
        ({"depth": {"name": "swin_tiny", "levels": [3]}}, "none of them in common; name the levels to bridge"),
    ],
)
def test_what_cannot_be_built_says_why(options, message):
    with pytest.raises(UsageError, match=message):
        segmenter(**options)


def test_what_does_not_fit_the_image_says_why():
    model, (image, depth) = segmenter(depth=STEM).eval(), picture()
    with pytest.raises(ValueError, match=r"got depth \[2, 1, 33, 47\] of images .* expected \[2, 2, 33, 47\]"):
        model(image, depth[:, :1])
    with pytest.raises(ValueError, match="this model takes images alone"):
        segmenter()(image, depth)
    for dtype in (torch.int64, torch.float64, torch.float16):
        with pytest.raises(ValueError, match=f"got depth of {dtype}; expected torch.float32, as the image is"):
            model(image, depth.to(dtype))
    with pytest.raises(ValueError, match=r"got depth as ndarray; expected a tensor \[B, 2, H, W\]"):
        model(image, depth.numpy())
    with pytest.raises(ValueError, match=r"got images as ndarray; this model takes a tensor \[B, 3, H, W\]"):
        model(image.numpy())


def test_predictions_in_tiles_flips_and_scales_are_of_both(tmp_path):
    model = stirred(segmenter(depth=STEM, classes=2)).eval()
    rng = np.random.default_rng(0)
    pixels, depth = rng.integers(0, 256, (60, 50, 3), np.uint8), rng.uniform(0.5, 4, (60, 50)).astype(np.float32)
    depth[rng.random((60, 50)) < 0.2] = 0
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    given = torch.from_numpy(np.stack([depth, depth > 0]).astype(np.float32))[None]
    with torch.no_grad():
        turned = [
            model.probabilities(image.flip(axes), given.flip(axes)).flip(axes) for axes in ((), (-1,), (-2,), (-2, -1))
        ]
        expected = torch.stack(turned).mean(0)[0].numpy()
    predictor = segkit.Predictor(model, precision="fp32", tta="flip", tile=None)
    found = predictor.predict(pixels, depth=depth)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert np.array_equal(found.depth[..., 1], depth > 0)
    for how in ({"tile": 32}, {"tta": "1.5", "tile": None}):
        other = segkit.Predictor(model, precision="fp32", **how)
        assert np.isfinite(other.predict(pixels, depth=depth).probabilities).all()
        assert not np.allclose(other.predict(pixels, depth=depth).probabilities, other.predict(pixels).probabilities)


def test_metres_are_divided_by_the_zoom_of_a_view():
    seen = []

    class Watching(Segmenter):
        def statistics(self, image, depth=None):
            seen.append(image[:, 3:])
            return super().statistics(image, depth)

    model = segmenter(depth=STEM, classes=2)
    model.__class__ = Watching
    depth = np.full((40, 40), 2.0, np.float32)
    segkit.Predictor(model.eval(), precision="fp32", tta="2", tile=None).predict(
        np.zeros((40, 40, 3), np.uint8), depth=depth
    )
    plain, zoomed = seen[-2:]
    assert plain.shape[-1] == 40
    assert zoomed.shape[-1] == 80
    assert plain[0, 0].unique().tolist() == [2.0]
    assert zoomed[0, 0].unique().tolist() == [1.0]
    assert zoomed[0, 1].unique().tolist() == [1.0]
