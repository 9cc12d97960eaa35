"""Training with depth: from a recipe to a model that uses it, does without it, and is taken up again."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import segkit
from segkit.data.alignment import Alignment
from segkit.data.camera import Intrinsics
from segkit.data.depth_format import DepthFormat
from segkit.data.synthetic import draw_cells
from segkit.errors import DataError, RecipeError
from segkit.recipe import Recipe
from segkit.training.digest import data_digest
from segkit.training.optimizer import parameter_groups
from segkit.training.plan import build_segmenter, make_plans
from segkit.training.run import _about as about_of
from segkit.training.run import _notes as notes_of
from segkit.training.run import train

STEM = {"name": "stem", "width": 4, "depth": 2}
MODEL = {"backbone": STEM, "neck": {"name": "unet", "widths": [4]}}
BRIDGED = {**MODEL, "depth": STEM, "bridge": "gated"}


def recipe_of(model=BRIDGED, *, train=None, data=None, **changes):
    return Recipe.model_validate(
        {
            "name": "tiny",
            "model": model,
            "data": {"crop": 32, "augment": "light", **(data or {})},
            "train": {"epochs": 2, "batch": 4, "workers": 0, "precision": "fp32", "ema": 0.5, **(train or {})},
            "predict": {"tile": 32},
            **changes,
        }
    )


def same(one, other, prefix=""):
    theirs = other.state_dict()
    return [
        name
        for name, tensor in one.state_dict().items()
        if name.startswith(prefix) and torch.equal(tensor, theirs[name])
    ]


def test_a_model_of_both_is_trained_saved_scored_and_predicts(cells, tmp_path):
    run = train(recipe_of(data={"depth_dropout": 0.3}), cells, out=tmp_path, console=False)
    assert run.metrics["pooled"]
    assert run.model.reader.depth.unit == "0.1mm"
    depth = np.concatenate([depth_values(cells, name) for name in segkit.open_dataset(cells).splits["train"]])
    np.testing.assert_allclose(run.model.encoding.mean.item(), depth.mean(), rtol=1e-4)
    np.testing.assert_allclose(run.model.encoding.std.item(), depth.std(), rtol=1e-3)
    place = run.directory / "model"
    predictor = segkit.Predictor(place)
    with_depth = predictor.predict(cells / "images" / "cells_000.png", depth=cells / "depth" / "cells_000.png")
    without = predictor.predict(cells / "images" / "cells_000.png")
    assert not np.array_equal(with_depth.probabilities, without.probabilities)
    report = segkit.evaluate(place, cells, split="test")
    bare = without_depth(cells, tmp_path / "bare")
    assert not report.metrics["notes"]
    alone = segkit.evaluate(place, cells, split="test", depth=False)
    assert alone.metrics["pooled"] == segkit.evaluate(place, bare, split="test").metrics["pooled"]
    assert report.metrics["calibration"] != alone.metrics["calibration"]
    count = len(segkit.open_dataset(cells).splits["test"])
    assert alone.metrics["notes"] == ["the model takes depth, which is left out"]
    said = f"the model takes depth; {count} of the {count} images have none and are predicted without"
    assert segkit.evaluate(place, bare, split="test").metrics["notes"] == [said]


def depth_values(cells, name):
    pixels = segkit.data.reader.read_pixels(cells / "depth" / f"{name}.png").astype(float) / 10_000
    return pixels[pixels > 0]


def without_depth(cells, place):
    shutil.copytree(cells, place)
    shutil.rmtree(place / "depth")
    return place


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_depth_as_further_channels_is_trained_too(cells, tmp_path, precision):
    run = train(
        recipe_of({**MODEL, "depth": "stack"}, train={"precision": precision}), cells, out=tmp_path, console=False
    )
    assert run.model.backbone.backbone.layers[0][0].in_channels == 5


def test_another_encoding_than_that_of_the_start_is_refused(cells, tmp_path):
    first = train(recipe_of(BRIDGED), cells, out=tmp_path, console=False)
    on = {**BRIDGED, "start": str(first.directory / "model"), "encoding": "inverse"}
    with pytest.raises(RecipeError, match=r"it learnt from depth as 'metres', here it is 'inverse'; set"):
        train(recipe_of(on, name="on"), cells, out=tmp_path, console=False)


def test_from_a_colour_model_it_begins_as_that_and_frozen_stays_so(cells, tmp_path):
    colour = train(recipe_of(MODEL), cells, out=tmp_path, console=False)
    start = {"start": str(colour.directory / "model")}
    first = train(
        recipe_of({**BRIDGED, **start}, train={"freeze": "colour", "ema": None}, name="frozen"),
        cells,
        out=tmp_path,
        console=False,
    )
    kept = {name.replace("backbone.", "backbone.colour.", 1): t for name, t in colour.model.state_dict().items()}
    after = first.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in kept.items())
    image = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(first.model(image), colour.model(image))
    assert "frozen)" in (first.directory / "log.txt").read_text()
    second = train(
        recipe_of(
            {**BRIDGED, **start},
            train={"freeze": "colour", "unfreeze": 0.5, "ema": None, "keep": "last"},
            name="thawed",
        ),
        cells,
        out=tmp_path,
        console=False,
    )
    thawed = second.model.state_dict()
    moved = [name for name, tensor in kept.items() if name.endswith("weight") and not torch.equal(thawed[name], tensor)]
    assert len(moved) == sum(name.endswith("weight") for name in kept)


def test_on_other_pictures_a_colour_models_normalisation_stays_unless_another_is_asked_for(cells, tmp_path):
    torch.manual_seed(0)
    colour = segkit.Segmenter.create(
        STEM, neck=MODEL["neck"], classes=["nothing", "disc"], mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6]
    ).eval()
    segkit.save(colour, tmp_path / "colour")
    folder = segkit.open_dataset(cells)
    image = torch.rand(1, 3, 40, 40)
    for normalisation, kept in (("dataset", True), ("imagenet", False)):
        recipe = recipe_of(
            {**BRIDGED, "start": str(tmp_path / "colour")},
            data={"normalisation": normalisation, "path": str(cells)},
        )
        plans = make_plans(recipe, folder)
        model = build_segmenter(plans[0], folder).eval()
        with torch.no_grad():
            assert torch.equal(model(image), colour(image)) is kept
        assert torch.equal(model.mean, colour.mean) is kept
        said = "tiny: model.start draws nothing, disc; here they go on, in this order, as background, cell"
        assert list(notes_of(recipe, plans, ()))[-1] == said


def test_that_depth_was_brought_onto_its_pictures_is_kept_with_the_model(cells):
    folder = segkit.open_dataset(cells)
    camera = Intrinsics(fx=60, fy=60, cx=24, cy=24)
    rig = Alignment(depth_camera=camera, colour_camera=camera, motion=np.eye(4).tolist())
    for each, said in ((folder, None), (replace(folder, alignment=rig), "brought onto the pictures")):
        about = about_of(recipe_of(), [], each, 0.0, pictures=1, finished=True)
        assert about["trained_on"].get("depth") == said


def test_depth_from_colour_weights_takes_those_that_training_starts_from(cells, tmp_path):
    colour = train(recipe_of(MODEL), cells, out=tmp_path, console=False)
    model = {**BRIDGED, "depth": {**STEM, "weights": "colour"}, "start": str(colour.directory / "model")}
    how = {"freeze": "colour", "ema": None, "epochs": 1, "learning_rate": 1e-12}
    run = train(recipe_of(model, train=how, name="on"), cells, out=tmp_path, console=False)
    for name, tensor in colour.model.backbone.named_parameters():
        found = run.model.backbone.depth.get_parameter(name)
        if name == "layers.0.0.weight":
            torch.testing.assert_close(found[:, :1], tensor.sum(1, keepdim=True))
        else:
            torch.testing.assert_close(found, tensor)


def test_little_relief_far_away_is_said_aloud(cells, tmp_path):
    for name, encoding, said in (("plain", None, True), ("own", {"name": "metres", "per_picture": True}, False)):
        model = {**BRIDGED, "encoding": encoding}
        run = train(recipe_of(model, train={"epochs": 1}, name=name), cells, out=tmp_path, console=False)
        log = (run.directory / "log.txt").read_text()
        assert ("depth varies by" in log) is said


def test_depth_that_is_centred_by_hand_is_taken(cells, tmp_path):
    model = {**BRIDGED, "encoding": {"name": "metres", "mean": [0.0], "std": [1.0]}}
    run = train(recipe_of(model, train={"epochs": 1}), cells, out=tmp_path, console=False)
    assert "depth varies by" not in (run.directory / "log.txt").read_text()


def test_members_with_and_without_depth_are_trained_into_one_ensemble(cells, tmp_path):
    members = [{"name": "colour", **MODEL}, {"name": "both", **BRIDGED}]
    run = train(recipe_of(None, ensemble={"members": members}), cells, out=tmp_path, console=False)
    assert [member.reader.depth_channels for member in run.model.members] == [0, 1]
    loaded = segkit.load(run.directory / "model")
    assert loaded.reader.depth_channels == 1
    found = segkit.Predictor(loaded).predict(
        cells / "images" / "cells_000.png", depth=cells / "depth" / "cells_000.png"
    )
    assert found.disagreement is not None


def test_members_with_depth_are_trained_together_as_alone(cells, tmp_path):
    members = [{"name": name, **BRIDGED} for name in ("first", "second")]
    both = train(recipe_of(None, ensemble={"members": members, "joint": True}), cells, out=tmp_path, console=False)
    alone = train(
        recipe_of(None, ensemble={"members": members}, train={"data_seed": 0}, name="alone"),
        cells,
        out=tmp_path,
        console=False,
    )
    for one, other in zip(both.model.members, alone.model.members, strict=True):
        for name, tensor in one.state_dict().items():
            torch.testing.assert_close(tensor, other.state_dict()[name], rtol=1e-5, atol=1e-5)


def test_what_will_learn_later_is_in_the_optimiser_from_the_start():
    model = segkit.Segmenter.create(STEM, classes=2, depth=STEM)
    model.freeze("colour")
    count = {
        frozen: sum(len(g["params"]) for g in parameter_groups(model, 0.1, frozen=frozen)) for frozen in (False, True)
    }
    assert count[True] == len(list(model.parameters())) > count[False] > 0


def test_a_refused_freeze_leaves_what_is_frozen():
    model = segkit.Segmenter.create(STEM, classes=2, depth=STEM)
    model.freeze("colour")
    before = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(ValueError, match="can't freeze 9 stages"):
        model.freeze(9)
    assert model.frozen
    assert [parameter.requires_grad for parameter in model.parameters()] == before


def test_a_dataset_without_depth_says_so(cells, tmp_path):
    bare = without_depth(cells, tmp_path / "bare")
    with pytest.raises(DataError, match=r"bare/depth: no files there, but tiny takes depth"):
        train(recipe_of(), bare, out=tmp_path, console=False)


def test_depth_of_another_kind_than_in_training_is_refused(cells, tmp_path):
    run = train(recipe_of(train={"epochs": 1}), cells, out=tmp_path, console=False)
    other = tmp_path / "relative"
    shutil.copytree(cells, other)
    yaml = other / "dataset.yaml"
    yaml.write_text(yaml.read_text().replace("0.1mm", "relative"))
    with pytest.raises(DataError, match=r"relative: depth has 1 channel in relative; the model takes metres"):
        segkit.evaluate(run.directory / "model", other, split="test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": MODEL, "data": {"depth_dropout": 0.5}},
            "tiny: data.depth_dropout is of depth; name a backbone for it",
        ),
        ({"model": {**MODEL, "encoding": "plain"}}, "tiny: model.encoding is of depth; name a backbone for it"),
        ({"model": {**MODEL, "bridge": "gated"}}, "tiny: model.bridge is of depth; name a backbone for it"),
        (
            {"model": {**MODEL, "depth": "stack", "bridge": {"name": "se", "levels": [0]}}},
            "tiny: model.bridge joins two backbones, depth=stack is one; leave it out",
        ),
        ({"data": {"depth_dropout": 1.0}}, "data.depth_dropout\n  Input should be less than 1"),
        ({"train": {"unfreeze": 0.5}}, "tiny: train.unfreeze, but nothing is frozen"),
        (
            {"model": None, "ensemble": {"joint": True, "members": [{"name": "a", **MODEL}, {"name": "b", **BRIDGED}]}},
            "ensemble.joint: 'b' and 'a' differ in whether they take depth",
        ),
    ],
)
def test_a_recipe_that_makes_no_sense_says_why(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe_of(**{"model": BRIDGED, **changes})


def test_freezing_colour_needs_depth(cells, tmp_path):
    with pytest.raises(
        RecipeError, match=r"tiny: train.freeze=colour: freeze='colour': the model has no depth backbone"
    ):
        train(recipe_of(MODEL, train={"freeze": "colour"}), cells, out=tmp_path, console=False)


def test_killed_and_resumed_it_ends_with_the_same_bits(tmp_path):
    cells = draw_cells(tmp_path / "cells", images=8, size=48)
    how = {"epochs": 3, "deterministic": True, "freeze": "colour", "unfreeze": 0.5}
    whole = train(recipe_of(train=how), cells, out=tmp_path / "whole", console=False)

    class StoppedError(Exception):
        pass

    def stop(trainer, *_):
        if trainer.current_epoch == 1:
            raise StoppedError

    from segkit.training.callbacks import SamplePictures

    original = SamplePictures.on_validation_end
    try:
        SamplePictures.on_validation_end = lambda _self, trainer, module: stop(trainer, module)
        with pytest.raises(StoppedError):
            train(recipe_of(train=how), cells, out=tmp_path / "parts", console=False)
    finally:
        SamplePictures.on_validation_end = original
    again = train(recipe_of(train=how), cells, out=tmp_path / "parts", resume=True, console=False)
    assert len(same(whole.model, again.model)) == len(whole.model.state_dict())


def test_what_depth_means_is_part_of_the_data_that_a_run_began_with(cells):
    folder = segkit.open_dataset(cells)
    camera = Intrinsics(fx=60, fy=60, cx=24, cy=24)
    rig = Alignment(depth_camera=camera, colour_camera=camera, motion=np.eye(4).tolist())
    others = [replace(folder, depth_format=DepthFormat(unit="mm")), replace(folder, alignment=rig)]
    for model, differ in ((BRIDGED, True), (MODEL, False)):
        plans = make_plans(recipe_of(model), folder)
        first = data_digest(plans, folder)
        assert data_digest(plans, folder) == first
        assert [data_digest(plans, other) != first for other in others] == [differ, differ]
