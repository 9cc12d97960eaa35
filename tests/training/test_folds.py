"""Folds and seeds, as a run trains them."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import segkit
from segkit.data.folder import open_dataset
from segkit.data.synthetic import draw_cells
from segkit.errors import DataError, RecipeError
from segkit.recipe_file import load_recipe
from segkit.training.plan import make_plans
from segkit.training.run import train

PART = {"backbone": {"name": "stem", "width": 4}, "neck": {"name": "unet", "widths": [4]}}


def test_every_picture_is_held_out_of_one_fold_and_scores_it(recipe, cells):
    folder = open_dataset(cells)
    plans = make_plans(recipe(folds=3, seeds=2), folder)
    assert [plan.member.name for plan in plans[:4]] == [
        "first-fold1-seed1",
        "first-fold1-seed2",
        "first-fold2-seed1",
        "first-fold2-seed2",
    ]
    assert len(plans) == 12
    assert len({plan.seed for plan in plans}) == 12
    everyone = {sample.name for sample in folder.samples("train", "val")}
    for plan in plans:
        inside, outside = ({sample.name for sample in samples} for samples in (plan.samples, plan.held_out))
        assert inside | outside == everyone
        assert not inside & outside
        assert plan.validation == plan.held_out
    assert {sample.name for plan in plans[::4] for sample in plan.held_out} <= everyone
    # Pictures are in memory once, however many members see them.
    arrays = {id(image) for plan in plans for image, _ in plan.dataset._cache}
    assert len(arrays) == len(everyone)


def test_a_run_with_folds_leaves_out_of_fold_masks_and_their_score(recipe, cells, tmp_path):
    asked = recipe(members=("one",), train={"epochs": 1}, folds=2)
    run = train(asked, cells, out=tmp_path, console=False)
    assert run.model.names == ("one-fold1", "one-fold2")
    folder = open_dataset(cells)
    plans = make_plans(asked, folder)
    for plan, name in zip(plans, run.model.names, strict=True):
        member = segkit.load(run.directory / "members" / name / "model")
        predictor = segkit.Predictor(member)
        for sample in plan.held_out:
            alone = predictor.predict(sample.image)
            alone.save(tmp_path / "alone", probability=True)
            for kind in ("mask", "probability"):
                file = f"{sample.name}_{kind}.png"
                assert (run.directory / "out_of_fold" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    assert run.model.about["metrics"]["split"] == "train+val of cells"
    assert run.model.about["metrics"]["images"] == len(folder.samples("train", "val"))
    assert run.model.about["trained_on"]["splits"] == "train, val"


def test_scores_out_of_fold_of_members_that_began_with_all_pictures_say_so(recipe, cells, tmp_path):
    first = train(recipe(members=("one",), train={"epochs": 1}), cells, out=tmp_path, console=False)
    members = [{"name": "one", **PART, "start": str(first.directory / "members" / "one" / "model")}]
    on = recipe(name="on", ensemble={"members": members}, train={"epochs": 1}, folds=2)
    notes = train(on, cells, out=tmp_path, console=False).metrics["notes"]
    expected = f"weights that were trained on {len(open_dataset(cells).splits['train'])} of these pictures"
    assert sum(expected in note for note in notes) == 1


def test_seeds_are_trainings_that_differ_in_nothing_else(recipe, cells, tmp_path):
    asked = recipe(members=("one",), train={"epochs": 1, "seed": 4}, seeds=2)
    run = train(asked, cells, out=tmp_path, console=False)
    assert run.model.names == ("one-seed1", "one-seed2")
    alone = train(recipe(members=("one",), train={"epochs": 1, "seed": 5}), cells, out=tmp_path / "a", console=False)
    second, same = run.model.members[1].state_dict(), alone.model.members[0].state_dict()
    assert all(torch.equal(second[name], same[name]) for name in same)


def test_weights_are_those_of_the_members_named(recipe):
    changed = recipe(seeds=2).model_copy(deep=True)
    assert [member.name for member in changed.members()] == [
        "first-seed1",
        "first-seed2",
        "second-seed1",
        "second-seed2",
    ]


def test_members_with_splits_of_their_own_have_no_folds(recipe, cells):
    asked = load_recipe(recipe(folds=2), ["ensemble.members.0.data={train_on: [val]}"])
    with pytest.raises(RecipeError, match="folds are of the same pictures for all members"):
        make_plans(asked, open_dataset(cells))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ensemble.members.0.boost=2", "member 'first': boost=2, but no member comes before it"),
        ("ensemble.members.1.boost=-1", "greater than or equal to 0"),
        ("folds=1", "greater than or equal to 2"),
        ("seeds=0", "greater than or equal to 1"),
    ],
)
def test_values_without_a_meaning_are_refused(recipe, override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe(), [override])


@pytest.mark.parametrize("override", ["folds=2", "seeds=2", "teacher={model: somewhere}"])
def test_boosting_goes_with_one_training_a_member(recipe, override):
    with pytest.raises(RecipeError, match="second: boost looks at the members before it; leave folds, seeds and"):
        load_recipe(recipe(), ["ensemble.members.1.boost=2", override])


def test_members_count_out_of_fold_as_they_do_in_the_ensemble(recipe, cells, tmp_path):
    asked = load_recipe(recipe(train={"epochs": 1, "keep": "last"}), ["ensemble.weights=[1, 0]", "folds=2"])
    run = train(asked, cells, out=tmp_path, console=False)
    assert run.model.combination.weights.flatten().tolist() == [0.5, 0.5, 0, 0]
    plan = make_plans(asked, open_dataset(cells))[0]
    predictor = segkit.Predictor(segkit.load(run.directory / "members" / "first-fold1" / "model"))
    predictor.predict(plan.held_out[0].image).save(tmp_path, probability=True)
    file = f"{plan.held_out[0].name}_probability.png"
    assert (run.directory / "out_of_fold" / file).read_bytes() == (tmp_path / file).read_bytes()
    assert run.metrics["notes"] == []


def test_what_flatters_folds_is_said(recipe, cells, tmp_path):
    run = train(recipe(members=("one",), train={"epochs": 1}, folds=50), cells, out=tmp_path, console=False)
    log = (run.directory / "log.txt").read_text()
    assert "note: 10 folds instead of 50: there are no more pictures, or groups of them" in log
    assert "each fold also chose when to stop" in run.metrics["notes"][0]


def test_pictures_that_a_tag_turns_are_scored_as_they_stand(recipe, tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / "turned" / kind).mkdir(parents=True)
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for number in range(6):
        pixels = random.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "turned" / "images" / f"p{number}.png", exif=exif)
        Image.fromarray((pixels[..., 0] > 128).astype(np.uint8)).save(tmp_path / "turned" / "masks" / f"p{number}.png")
    asked = recipe(members=("one",), train={"epochs": 1, "keep": "last"}, folds=2)
    run = train(asked, tmp_path / "turned", out=tmp_path / "runs", console=False)
    mask = cv2.imread(str(run.directory / "out_of_fold" / "p0_mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape[:2] == (60, 40)
    assert len(run.metrics["images"]) >= 4


def test_a_members_wrong_value_is_named_with_the_member(recipe):
    with pytest.raises(
        RecipeError, match=r"member 'second': train\.epochs: Input should be greater than or equal to 1"
    ):
        load_recipe(recipe(), ["ensemble.members.1.train={epochs: -3}"])


def test_an_error_in_a_loaders_worker_is_one_line(recipe, tmp_path):
    data = draw_cells(tmp_path / "cells", images=8, size=48)
    for file in (data / "images" / "cells_001.png", data / "masks" / "cells_001.png"):
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[:40])
    with pytest.raises(
        DataError, match=r"^cells_\d+: pictures of different sizes \(48×40, 48×48\) in one batch; set"
    ) as error:
        train(recipe(train={"workers": 1}, data={"crop": None, "augment": "none"}), data, out=tmp_path, console=False)
    assert "\n" not in str(error.value)
