"""Classifiers put together on labelled images: fitted, saved, evaluated."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import segkit
from segkit.classification.classifier import Classifier
from segkit.classification.fuse import WAYS, fuse
from segkit.classification.inspection import inspect_classifiers
from segkit.classification.prediction import classify
from segkit.errors import ModelError, UsageError
from segkit.labelled.augmentation import Augmentation
from segkit.labelled.opening import open_labelled
from segkit.labelled.view import View

SWIN = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}
STEM = {"name": "stem", "width": 4, "depth": 2}
CLASSES = ("blue", "green", "red")
IMAGE = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """Noisy pictures of three colours, as folders of classes: 8, 6 and 4 of each."""
    folder, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 6), ("test", 4)):
        for channel, name in enumerate(("red", "green", "blue")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 120, (16, 16, 3), dtype=np.uint8)
                pixels[:, :, channel] += 90
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


def member(seed, backbone=SWIN, classes=CLASSES, view=View(size=(16, 16)), **about):  # noqa: B008
    torch.manual_seed(seed)
    made = Classifier.create(backbone, classes=classes, view=view).eval()
    torch.nn.init.normal_(made.head.weight)
    made.about = about
    return made


@pytest.fixture(scope="module")
def fused(colours):
    members = {"swin": member(0), "stem": member(1, STEM)}
    told = []
    found = fuse(members, open_labelled(colours), progress=lambda *now: told.append(now))
    return members, found, told


def test_every_way_is_there_and_every_image_is_shown_once(fused):
    members, found, told = fused
    assert tuple(found) == WAYS == ("uniform", "score", "member", "class", "early")
    assert told[-1] == (18 + 24, 18 + 24, "features")
    for way, each in found.items():
        assert each.model.names == ("swin", "stem")
        assert not each.model.training
        said = each.model.probabilities(IMAGE)
        torch.testing.assert_close(said.sum(1), torch.ones(3))
        about = each.model.about["fitted_on"]
        assert (about["weights"], about["split"], about["images"]) == (way, "val", 18)
    assert found["member"].notes[0].startswith("member: loss on pictures it wasn't fitted on ")
    assert found["early"].notes[0].startswith("early: loss on images it wasn't trained on ")
    assert all("its temperature ended at" in note for note in found["uniform"].notes)
    assert found["class"].scores == found["uniform"].scores


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_classifiers_on_a_gpu_are_fused_and_inspected_there(fused, colours):
    on_cpu = fused[1]
    members = {"swin": member(0).cuda(), "stem": member(1, STEM).cuda()}
    found = fuse(members, open_labelled(colours), ["uniform", "member"])
    assert all(next(each.parameters()).is_cuda for each in members.values())
    assert found["uniform"].scores == pytest.approx(on_cpu["uniform"].scores)
    inside = inspect_classifiers(found["uniform"].model, colours)
    assert inside.alone == pytest.approx(inspect_classifiers(on_cpu["uniform"].model, colours).alone)


def test_scores_are_what_evaluation_finds_alone(fused, colours):
    members, found, _ = fused
    for name, each in members.items():
        report = segkit.evaluate(each, colours, "val", precision="fp32")
        assert report.metrics["top1"] == pytest.approx(found["uniform"].scores[name])


def test_a_joint_head_learns_colours_from_random_features(fused, colours):
    report = segkit.evaluate(fused[1]["early"].model, colours, "test", precision="fp32")
    assert report.metrics["top1"] == 1.0


def test_augmented_views_are_further_passes_over_the_training_images(colours):
    told = []
    members = {"swin": member(0), "stem": member(1, STEM)}
    how = {"augment": Augmentation(), "views": 2, "progress": lambda *now: told.append(now)}
    found = fuse(members, open_labelled(colours), ["early"], **how)["early"].model
    assert told[-1][:2] == (18 + 3 * 24, 18 + 3 * 24)
    assert found.about["fitted_on"]["views"] == 3


def test_what_is_found_depends_on_the_seed_alone(colours, fused):
    members = {"swin": member(0), "stem": member(1, STEM)}
    torch.manual_seed(123)
    again = fuse(members, open_labelled(colours), ["early", "class"])
    for way in again:
        expected = fused[1][way].model.probabilities(IMAGE)
        assert torch.equal(again[way].model.probabilities(IMAGE), expected)


def test_the_whole_knows_what_its_members_were_trained_on(colours):
    trained = {"dataset": colours.name, "splits": "train", "recipe": "a"}
    members = {name: member(i, trained_on={**trained, "recipe": name}) for i, name in enumerate("ab")}
    model = fuse(members, open_labelled(colours), ["uniform"])["uniform"].model
    assert model.about["trained_on"] == {**trained, "recipe": "a, b"}


@pytest.mark.parametrize("way", WAYS)
@torch.no_grad()
def test_saved_and_loaded_it_says_the_same(fused, way, tmp_path):
    model = fused[1][way].model
    segkit.save(model, tmp_path / "model")
    loaded = segkit.load(tmp_path / "model")
    assert type(loaded) is type(model)
    assert torch.equal(loaded.probabilities(IMAGE), model.probabilities(IMAGE))
    assert (loaded.names, loaded.classes, loaded.view, loaded.about) == (
        model.names,
        model.classes,
        model.view,
        model.about,
    )
    state, before = loaded.state_dict(), model.state_dict()
    assert state.keys() == before.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    assert [each.about for each in loaded.members] == [each.about for each in model.members]
    pixels = np.random.default_rng(0).integers(0, 255, (2, 20, 30, 3), dtype=np.uint8)
    one, other = (classify(each, list(pixels), precision="fp32") for each in (model, loaded))
    assert [each.best() for each in one] == [each.best() for each in other]
    card = (tmp_path / "model" / "README.md").read_text()
    assert "- swin: swin" in card
    assert "pipeline_tag: image-classification" in card


def test_what_segmentation_asks_for_is_refused_in_one_line(fused, tmp_path):
    for way, what in (("uniform", "an ensemble of classifiers"), ("early", "classifiers under a joint head")):
        segkit.save(fused[1][way].model, tmp_path / way)
        with pytest.raises(ModelError, match=f"{way}: {what}, which .* masks are needed here"):
            segkit.Predictor(tmp_path / way)


def test_a_damaged_member_is_named(fused, tmp_path):
    folder = segkit.save(fused[1]["early"].model, tmp_path / "model")
    described = json.loads((folder / "segkit.json").read_text())
    described["members"][1]["model"]["architecture"]["backbone"]["width"] = 5
    (folder / "segkit.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match="member 'stem' can't be built from its description"):
        segkit.load(folder)
    described["members"] = []
    (folder / "segkit.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match="damaged at 'members'"):
        segkit.load(folder)


def test_inspection_counts_what_each_member_is_worth(fused, colours):
    model = fused[1]["uniform"].model
    plain = inspect_classifiers(model)
    assert plain.weights == {"swin": [0.5], "stem": [0.5]}
    assert plain.whole is None
    found = inspect_classifiers(model, colours, "val")
    assert found.alone == fused[1]["uniform"].scores
    assert found.without == pytest.approx({"swin": found.alone["stem"], "stem": found.alone["swin"]})
    assert found.whole == segkit.evaluate(model, colours, "val", precision="fp32").metrics["top1"]
    assert found.agreement[0][0] == found.agreement[1][1] == 1.0
    assert found.agreement[0][1] == found.agreement[1][0] < 1.0
    assert "top-1, on val of colours" in found.table()


@pytest.mark.parametrize(
    ("members", "changes", "error", "message"),
    [
        ({"a": member(0)}, {}, UsageError, "at least two members"),
        ({"a": member(0), "b": member(1)}, {"ways": ["gate"]}, UsageError, "way 'gate': expected of uniform, score"),
        ({"a": member(0), "b": member(1)}, {"views": -1}, UsageError, "views=-1"),
        ({"a": member(0), "b": member(1, classes=3)}, {}, UsageError, "'b' has classes"),
        ({"a": member(0, classes=3), "b": member(1, classes=3)}, {}, ModelError, "a has classes .*'blue'"),
        ({"a": member(0, view=None), "b": member(1, view=None)}, {}, UsageError, "without a view"),
        (
            {"a": member(0), "b": member(1, trained_on={"dataset": "colours0", "splits": "train, val"})},
            {},
            UsageError,
            "b was trained on split 'val'",
        ),
    ],
)
def test_what_cannot_be_fused_is_said_in_one_line(colours, members, changes, error, message):
    with pytest.raises(error, match=message):
        fuse(members, open_labelled(colours), **changes)
