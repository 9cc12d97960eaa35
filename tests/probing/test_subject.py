"""Which backbone is probed: by name, of a model, of a run, or of a run's weights."""

import pytest
import safetensors.torch
import torch
import yaml

import segkit
from segkit import backbones
from segkit.contrasting.image_text import ImageText
from segkit.ensemble import Ensemble
from segkit.errors import ModelError, UsageError
from segkit.labelled.view import View
from segkit.probing.subject import open_subject

TINY = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}
IMAGE = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def same(found, backbone):
    """Whether two backbones give the same levels."""
    with torch.inference_mode():
        ours, theirs = found.backbone.eval()(IMAGE), backbone.eval()(IMAGE)
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def segmenter(**options):
    return segkit.Segmenter.create(TINY, neck={"name": "fpn", "width": 8}, classes=2, **options)


@pytest.fixture
def run(tmp_path):
    """A pretraining run's folder without a model of its own, and the backbone that is in it."""
    backbone = backbones.create(**TINY)
    safetensors.torch.save_file(backbone.state_dict(), tmp_path / "backbone.safetensors")
    recipe = {"name": "x", "data": {"channels": 3}, "model": {"backbone": TINY, "depth": {**TINY, "embed_dim": 4}}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path, backbone


def test_a_name_is_a_random_backbone_with_pictures_normalisation():
    found = open_subject(TINY)
    assert found.title == "swin"
    assert found.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert found.view is None
    assert found.notes == ("the weights are random (seed 0): what they reach is what others are to be held against",)


def test_a_name_takes_weights_from_a_file(run):
    folder, backbone = run
    found = open_subject(TINY, folder / "backbone.safetensors")
    assert same(found, backbone)
    assert found.notes == ()
    assert str(folder) in found.title


def test_a_classifiers_backbone_sees_what_the_classifier_sees(tmp_path):
    classifier = segkit.Classifier.create(TINY, classes=3, mean=[0.1] * 3, std=[0.9] * 3, view=View(size=(24, 24)))
    segkit.save(classifier, tmp_path / "clf")
    found = open_subject(tmp_path / "clf")
    assert same(found, classifier.backbone)
    assert found.mean.flatten().tolist() == pytest.approx([0.1] * 3)
    assert found.view == View(size=(24, 24))


def test_a_segmenters_backbone(tmp_path):
    model = segmenter(input_size=(40, 32))
    segkit.save(model, tmp_path / "seg")
    found = open_subject(str(tmp_path / "seg"))
    assert same(found, model.backbone)
    assert found.view == View(size=(40, 32))


def test_the_tower_for_images_of_a_model_that_reads_captions_too(tmp_path):
    text = {"name": "transformer", "width": 8, "depth": 1, "heads": 2}
    model = ImageText.create(TINY, captions=["a cat"], text=text, dim=4, mean=[0.2] * 3, std=[0.5] * 3)
    segkit.save(model, tmp_path / "both")
    found = open_subject(tmp_path / "both")
    assert same(found, model.image.backbone)
    assert found.std.flatten().tolist() == pytest.approx([0.5] * 3)


def test_what_a_backbone_cant_be_given_here_is_said(tmp_path):
    model = segkit.Segmenter.create(TINY, neck={"name": "fpn", "width": 8}, classes=2, depth=TINY, window=(0, 90))
    segkit.save(model, tmp_path / "seg")
    notes = open_subject(tmp_path / "seg").notes
    assert notes == (
        "the backbone takes depth too; it is probed on images alone",
        "the model reads files in a way of its own (window, slices); here bytes are divided by 255",
    )


def test_a_pretraining_run_by_its_recipe(run):
    folder, backbone = run
    for what in (folder, folder / "backbone.safetensors"):
        assert same(open_subject(what), backbone)


def test_a_runs_model_says_how_its_backbone_is_shown_images(run):
    folder, backbone = run
    classifier = segkit.Classifier.create(TINY, classes=3, mean=[0.1] * 3, std=[0.9] * 3, view=View(size=(24, 24)))
    classifier.backbone.load_state_dict(backbone.state_dict())
    segkit.save(classifier, folder / "model")
    found = open_subject(folder)
    assert same(found, backbone)
    assert found.title == str(folder)
    assert (found.view, found.std.flatten().tolist()) == (View(size=(24, 24)), pytest.approx([0.9] * 3))


def test_a_runs_backbone_of_depth_sees_no_images(run):
    folder, _ = run
    depth = backbones.create(**{**TINY, "embed_dim": 4})
    safetensors.torch.save_file(depth.state_dict(), folder / "depth.safetensors")
    with pytest.raises(UsageError, match=r"of depth, to which images say nothing; probe backbone\.safetensors"):
        open_subject(folder / "depth.safetensors")


def test_a_run_of_colour_and_depth_says_how_images_are_shown(run):
    folder, backbone = run
    shown = {"mean": torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1), "std": torch.full((1, 3, 1, 1), 0.9)}
    safetensors.torch.save_file(shown, folder / "projections.safetensors")
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    for size in (24, [24, 24]):
        (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "data": {"channels": 3, "size": size}}))
        found = open_subject(folder)
        assert same(found, backbone)
        assert torch.equal(found.mean, shown["mean"])
        assert torch.equal(found.std, shown["std"])
        assert found.view == View(size=(24, 24), share=1.0)
    (folder / "projections.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"projections\.safetensors: doesn't say how its run shows images"):
        open_subject(folder)


def test_a_training_runs_folder_means_its_model(tmp_path):
    model = segmenter()
    segkit.save(model, tmp_path / "runs" / "cells" / "model")
    assert same(open_subject(tmp_path / "runs" / "cells"), model.backbone)


def test_an_ensemble_has_no_backbone_of_its_own(tmp_path):
    segkit.save(Ensemble([segmenter(), segmenter()], names=["a", "b"]), tmp_path / "both")
    with pytest.raises(
        ModelError, match=r"Ensemble has no backbone of its own to probe; probe a member's own .*: a, b"
    ):
        open_subject(tmp_path / "both")


@pytest.mark.parametrize(
    ("what", "weights", "message"),
    [
        ("swin_tinny", None, r"swin_tinny: neither a backbone's name \(segkit models lists them\) nor"),
        ({"name": "swin", "embed": 8}, None, "backbone 'swin' has no option 'embed'"),
        ({"embed_dim": 8}, None, "expected a name"),
        ({**TINY, "weights": "a.pth"}, "b.pth", "weights are given twice: a.pth and b.pth"),
        ("resnet18", "nowhere.pth", "nowhere.pth: no such file of weights"),
    ],
)
def test_what_stands_for_no_backbone_is_refused(what, weights, message):
    with pytest.raises(UsageError, match=message):
        open_subject(what, weights)


def test_weights_for_what_has_its_own_are_refused(run):
    with pytest.raises(UsageError, match="has weights of its own; --weights is for a backbone by name"):
        open_subject(run[0], "imagenet")


def test_weights_without_a_recipe_beside_them_are_refused(run):
    folder, _ = run
    (folder / "recipe.yaml").unlink()
    with pytest.raises(UsageError, match=r"no recipe\.yaml beside it says which backbone this is; name that, and give"):
        open_subject(folder / "backbone.safetensors")
