import csv
import multiprocessing
import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import segkit
from segkit.data.dataset import SegmentationDataset
from segkit.data.folder import open_dataset
from segkit.data.synthetic import draw_cells
from segkit.errors import DataError, NotFiniteError, RecipeError, UsageError
from segkit.files import writing_to
from segkit.recipe import Recipe
from segkit.recipe_file import load_recipe
from segkit.training.digest import _sizes
from segkit.training.module import TrainingModule
from segkit.training.plan import build_segmenter, make_plans
from segkit.training.run import train


def assert_same_weights(one, other):
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def quietly(recipe, cells, out, **options):
    return train(recipe, cells, out=out, console=False, **options)


def test_an_ensemble_is_trained_scored_and_saved(recipe, cells, tmp_path):
    run = quietly(recipe(), cells, tmp_path)
    assert run.directory == tmp_path / "tiny"
    assert run.model.names == ("first", "second")
    assert_same_weights(segkit.load(run.directory / "model"), run.model)
    assert 0 <= run.metrics["pooled"]["per_class"]["cell"]["dice"] <= 1
    assert run.model.about["trained_on"]["pictures"] == 8
    assert run.model.about["predict"]["tile"] == 32
    for name in ("recipe.yaml", "log.txt", "validation/metrics.json", "members/first/curves.png"):
        assert (run.directory / name).stat().st_size > 0
    with (run.directory / "members/second/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [row["updates"] for row in rows] == ["2", "4"]
    assert all(float(row["loss"]) > 0 and 0 <= float(row["score"]) <= 1 for row in rows)
    assert list((run.directory / "members/first/samples").glob("*.png"))
    assert_same_weights(segkit.load(run.directory / "members/first/model"), run.model.members[0])
    assert list((run.directory / "members/first/tensorboard").iterdir())


def test_members_differ_in_their_first_weights_and_their_crops(recipe, cells):
    folder, both = open_dataset(cells), recipe(train={"epochs": 1})
    plans = make_plans(both, folder)
    first, second = (build_segmenter(plan, folder) for plan in plans)
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    assert not torch.equal(*(plan.dataset[0, 0]["image"] for plan in plans))


def test_a_single_model_puts_its_tables_at_the_top(recipe, cells, tmp_path):
    single = recipe(ensemble=None, model={"backbone": {"name": "stem", "width": 4}, "neck": {"name": "unet"}})
    run = quietly(single, cells, tmp_path)
    assert isinstance(run.model, segkit.Segmenter)
    assert (run.directory / "metrics.csv").is_file()


def test_the_resolved_recipe_repeats_the_run(recipe, cells, tmp_path):
    first = quietly(recipe(members=("only",)), cells, tmp_path / "a")
    again = quietly(load_recipe(first.directory / "recipe.yaml"), cells, tmp_path / "b")
    assert_same_weights(first.model, again.model)


def test_training_lowers_the_loss(recipe, cells, tmp_path):
    run = quietly(recipe(members=("only",), train={"epochs": 12, "learning_rate": 0.01}), cells, tmp_path)
    with (run.directory / "members/only/metrics.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_never_writes_into_another(recipe, cells, tmp_path):
    (tmp_path / "tiny").mkdir()
    assert quietly(recipe(members=("only",), train={"epochs": 1}), cells, tmp_path).directory == tmp_path / "tiny-2"


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_classes_and_task_come_from_the_dataset(recipe, tmp_path, task):
    import cv2
    import numpy as np
    import yaml

    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    classes = ["sky", "road", "tree"]
    for stem in "abcdef":
        ids = np.kron(rng.integers(0, 3, (4, 4)), np.ones((10, 10))).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"images/{stem}.png"), ids * 80)
        if task == "multiclass":
            cv2.imwrite(str(tmp_path / f"masks/{stem}.png"), ids)
        else:
            (tmp_path / f"masks/{stem}").mkdir()
            for i, name in enumerate(classes):
                cv2.imwrite(str(tmp_path / f"masks/{stem}/{name}.png"), (ids >= i).astype(np.uint8))
    splits = {"train": list("abcd"), "val": ["e"], "test": ["f"]}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({"task": task, "classes": classes, "splits": splits}))
    run = quietly(recipe(members=("only",)), tmp_path, tmp_path / "runs")
    assert (run.model.task, run.model.classes, run.model.maps) == (task, tuple(classes), 3)
    assert set(run.metrics["pooled"]["per_class"]) == set(classes)


def test_the_first_interrupt_leaves_a_model_that_loads(recipe, cells, tmp_path, monkeypatch):
    step, calls, before = TrainingModule.training_step, [], signal.getsignal(signal.SIGINT)

    def interrupted(self, batch, index):
        calls.append(index)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", interrupted)
    run = quietly(recipe(train={"epochs": 50}), cells, tmp_path)
    assert run.interrupted
    assert len(calls) == 3
    assert run.model.names == ("first",)
    assert run.model.about["trained_on"]["finished"] is False
    assert_same_weights(segkit.load(run.directory / "model"), run.model)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interrupt_ends_at_once(recipe, cells, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGINT)

    def interrupted(self, batch, index):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingModule, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quietly(recipe(), cells, tmp_path)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_validation_epoch_start"])
def test_an_interrupt_between_steps_leaves_a_model_too(recipe, cells, tmp_path, monkeypatch, hook):
    whole = getattr(TrainingModule, hook)

    def interrupted(self):
        whole(self)
        if self.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingModule, hook, interrupted)
    run = quietly(recipe(train={"epochs": 50}), cells, tmp_path)
    assert run.interrupted
    assert_same_weights(segkit.load(run.directory / "model"), run.model)


def test_pictures_that_cannot_be_drawn_do_not_cost_the_model(recipe, cells, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("segkit.training.member.draw_samples", full)
    run = quietly(recipe(members=("only",), train={"epochs": 1}), cells, tmp_path)
    assert "sample pictures not drawn: no space left" in (run.directory / "log.txt").read_text()


def test_a_late_divergence_keeps_the_best_weights(recipe, cells, tmp_path, monkeypatch):
    step = TrainingModule.training_step

    def diverging(self, batch, index):
        return step(self, batch, index) * (float("nan") if self.current_epoch == 1 else 1.0)

    monkeypatch.setattr(TrainingModule, "training_step", diverging)
    run = quietly(recipe(members=("only",), train={"epochs": 9}), cells, tmp_path)
    assert all(tensor.isfinite().all() for tensor in run.model.state_dict().values())
    assert "training diverged" in (run.directory / "log.txt").read_text()
    assert segkit.load(run.directory / "members/only/model").about["trained_on"]["finished"] is False


def test_every_epoch_has_its_own_crops_in_its_own_order(recipe, cells, tmp_path, monkeypatch):
    item, keys = SegmentationDataset.__getitem__, []
    monkeypatch.setattr(SegmentationDataset, "__getitem__", lambda self, key: keys.append(key) or item(self, key))
    quietly(recipe(members=("only",), train={"epochs": 3}), cells, tmp_path)
    epochs = [keys[i : i + 8] for i in (0, 8, 16)]
    assert [{epoch for epoch, _ in each} for each in epochs] == [{0}, {1}, {2}]
    assert len({tuple(index for _, index in each) for each in epochs}) == 3


def test_the_loss_told_does_not_depend_on_accumulation(recipe, cells, tmp_path):
    losses = []
    for accumulate in (1, 2):
        still = recipe(members=("only",), train={"epochs": 1, "learning_rate": 1e-12, "accumulate": accumulate})
        run = quietly(still, cells, tmp_path)
        with (run.directory / "members/only/metrics.csv").open() as file:
            losses.append(float(next(csv.DictReader(file))["loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_early_stopping_ends_before_the_last_epoch(recipe, cells, tmp_path, monkeypatch):
    monkeypatch.setattr("segkit.training.module.headline", lambda _: ("dice", 0.5))
    still = recipe(members=("only",), train={"epochs": 40, "learning_rate": 1e-12, "early_stopping": 2, "ema": None})
    run = quietly(still, cells, tmp_path)
    with (run.directory / "members/only/metrics.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3  # the first, and two that were no better


def test_maps_that_are_not_finite_are_the_recipes_fault(recipe, cells, tmp_path, monkeypatch):
    def overflow(*_args):
        raise NotFiniteError("p5: the model gives values that are not finite; was its training finite?")

    monkeypatch.setattr("segkit.training.scoring.evaluate", overflow)
    with pytest.raises(RecipeError, match=r"p5: .*\? If it was, lower train\.learning_rate, or compute in fp32"):
        quietly(recipe(members=("only",), train={"epochs": 1}), cells, tmp_path)


def test_a_diverged_training_is_an_error_not_a_model(recipe, cells, tmp_path):
    with pytest.raises(RecipeError, match=r"the loss is nan in epoch 1, training diverged; lower train\.learning_rate"):
        quietly(recipe(members=("only",), train={"learning_rate": 1e38, "clip": None, "warmup": 0}), cells, tmp_path)


def test_what_cannot_be_trained_is_said_before_a_folder_is_made(recipe, cells, tmp_path):
    out = tmp_path / "runs"
    with pytest.raises(UsageError, match="no dataset given; name its folder"):
        train(recipe(), out=out, console=False)
    with pytest.raises(UsageError, match="no split 'trian'; did you mean 'train'"):
        quietly(recipe(data={"train_on": ["trian"]}), cells, out)
    members = [{"name": "a", "backbone": "stem", "data": {"validate_on": "test"}}]
    with pytest.raises(UsageError, match="no split 'vla'; did you mean 'val'"):  # where the whole is scored at the end
        quietly(recipe(ensemble={"members": members}, data={"validate_on": "vla"}), cells, out)
    with pytest.raises(RecipeError, match="early_stopping need a split to score"):
        quietly(recipe(data={"validate_on": None}, train={"early_stopping": 3}), cells, out)
    with pytest.raises(RecipeError, match=r"loss\.dcie"):
        quietly(recipe(loss={"dcie": 1.0}), cells, out)
    with pytest.raises(UsageError, match="did you mean 'resnet18'"):
        quietly(recipe(ensemble={"members": [{"name": "a", "backbone": "resnet19"}]}), cells, out)
    wrong = Path(shutil.copytree(cells, tmp_path / "cells"))
    mask = wrong / "masks" / f"{segkit.open_dataset(wrong).splits['val'][0]}.png"
    cv2.imwrite(str(mask), np.full((48, 48), 7, np.uint8))
    with pytest.raises(DataError, match=mask.name):
        quietly(recipe(), wrong, out)
    readers = {
        "members": [{"name": "a", "backbone": "stem"}, {"name": "b", "backbone": "stem", "data": {"window": [0, 9]}}]
    }
    with pytest.raises(RecipeError, match=r"members take the same data\.channels, window, slices and mpp"):
        quietly(recipe(ensemble=readers), cells, out)
    with pytest.raises(RecipeError, match=r"data\.foreground=0\.5 places crops; set data\.crop, or leave it out"):
        quietly(recipe(data={"crop": None, "foreground": 0.5}), cells, out)
    with pytest.raises(RecipeError, match=r"predict\.postprocess\.smallest: 5 mm3 is of a volume; this is a picture"):
        quietly(recipe(predict={"postprocess": {"smallest": "5 mm3", "holes": True}}), cells, out)
    for step, size in (("smallest", "5 mm2"), ("holes", "1 mm2"), ("smoothing", "1 mm")):
        with pytest.raises(RecipeError, match=rf"{step}: {size}, but nothing says how large this image's pixels are"):
            quietly(recipe(predict={"postprocess": {step: size}}), cells, out)
    with pytest.raises(RecipeError, match="normalisation=imagenet is for 3 channels, not 1"):
        quietly(recipe(data={"normalisation": "imagenet", "channels": 1}), cells, out)
    assert not out.exists()


def test_a_run_folder_that_cannot_be_made_is_named(recipe, cells, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "unmounted")
    for place in ("file", "dangling"):
        with pytest.raises(UsageError, match=r"can't make the run's folder"):
            quietly(recipe(), cells, tmp_path / place)


def test_a_coarse_map_is_learnt_from_pictures_of_different_sizes(recipe, tmp_path):
    data = draw_cells(tmp_path / "cells", images=6, size=40, splits=(0.5, 0.25, 0.25))
    picture = cv2.imread(str(next((data / "images").iterdir())))
    for kind in ("images", "masks"):  # one of another shape than the others
        path = data / kind / sorted((data / kind).iterdir())[0].name
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:30])
    given = recipe(
        members=("only",),
        data={"crop": None, "augment": "none"},
        predict={"tile": None},
        train={"epochs": 30, "learning_rate": 1e-2, "keep": "last"},
    )
    given.ensemble.members[0].input_size, given.ensemble.members[0].output_size = (32, 40), (4, 5)
    run = train(given, data=data, out=tmp_path / "runs", console=False)
    [member] = run.model.members
    assert member.grid_logits(torch.rand(1, 3, *picture.shape[:2])).shape == (1, 1, 4, 5)
    losses = [float(row["loss"]) for row in csv.DictReader((run.directory / "members/only/metrics.csv").open())]
    assert losses[-1] < 0.8 * losses[0]
    again = segkit.load(run.directory / "model")
    assert again.members[0].output_size == (4, 5)


def test_a_member_s_own_splits_are_kept_with_it_and_with_the_ensemble(recipe, cells, tmp_path):
    values = recipe(train={"epochs": 1}).model_dump()
    second = values["ensemble"]["members"][1]
    second["data"], second["train"] = {"train_on": ["train", "val"], "validate_on": None}, {"keep": "last"}
    run = quietly(Recipe.model_validate(values), cells, tmp_path)
    about = [member.about["trained_on"] for member in (*run.model.members, run.model)]
    assert [each["splits"] for each in about] == ["train", "train, val", "train, val"]
    assert [each.get("chosen_on") for each in about] == ["val", None, "val"]
    with pytest.raises(UsageError, match=r"was trained on split 'val'"):
        segkit.fit(run.model, cells, "val")


def test_a_worker_that_imports_the_script_does_not_train_again(recipe, cells, tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(UsageError, match=r"put the call under: if __name__ == '__main__'"):
        quietly(recipe(), cells, tmp_path)
    assert not (tmp_path / "tiny").exists()


def test_tables_that_can_t_be_written_do_not_cost_the_model(recipe, cells, tmp_path, monkeypatch):
    @contextmanager
    def held(path):
        with writing_to(path.name):
            raise PermissionError(13, "Permission denied")
        yield

    monkeypatch.setattr("segkit.training.progress.atomic_path", held)
    run = quietly(recipe(members=("only",), train={"epochs": 1}), cells, tmp_path)
    assert (run.directory / "model" / "segkit.json").is_file()
    assert "not written: metrics.csv: can't be written" in (run.directory / "log.txt").read_text()


def test_who_looks_into_a_folder_of_masks_does_not_change_the_data(tmp_path):
    masks = tmp_path / "a"
    masks.mkdir()
    (masks / "cell.png").write_bytes(b"12345")
    before = _sizes(masks)
    for name in (".DS_Store", "Thumbs.db"):
        (masks / name).write_bytes(b"1")
    assert _sizes(masks) == before


def test_the_last_steps_of_an_epoch_count_as_a_whole_update(recipe, cells, tmp_path, monkeypatch):
    """Four steps, three to an update: of each update's gradients the mean is taken, of three steps and of one."""
    taken = {}
    real = TrainingModule.configure_gradient_clipping

    def spy(module, *further, **options):
        real(module, *further, **options)
        found = [parameter.grad.clone() for parameter in module.network.parameters()]
        taken.setdefault(module.train_recipe.accumulate, []).append(found)

    monkeypatch.setattr(TrainingModule, "configure_gradient_clipping", spy)
    still = {"epochs": 1, "learning_rate": 1e-30, "clip": None, "ema": None, "precision": "fp32", "batch": 2}
    for accumulate in (1, 3):
        data = {"crop": 32, "augment": "none", "crops_per_image": 1}
        quietly(recipe(members=("only",), train={**still, "accumulate": accumulate}, data=data), cells, tmp_path)
    alone, summed = taken[1], taken[3]
    assert (len(alone), len(summed)) == (4, 2)
    for place, found in enumerate(summed):
        parts = alone[3 * place : 3 * place + 3]
        for gradient, *each in zip(found, *parts, strict=True):
            torch.testing.assert_close(gradient, torch.stack(each).mean(0), rtol=1e-3, atol=1e-6)


def test_samples_that_can_not_be_drawn_do_not_cost_the_model(recipe, cells, tmp_path, monkeypatch):
    def fails(*_):
        raise ValueError("larger than\nis taken")

    monkeypatch.setattr("segkit.training.member.draw_samples", fails)
    run = quietly(recipe(members=("only",), train={"epochs": 1}), cells, tmp_path)
    assert (run.directory / "model").is_dir()
    assert "sample pictures not drawn: larger than is taken" in (run.directory / "log.txt").read_text()


def test_weights_are_not_chosen_on_what_is_trained_on(recipe, cells, tmp_path):
    asked = recipe(members=("only",), data={"train_on": ["train", "val"]})
    with pytest.raises(RecipeError, match=r"data.validate_on=val is trained on too, so the best weights would be"):
        quietly(asked, cells, tmp_path)
    last = recipe(members=("only",), data={"train_on": ["train", "val"]}, train={"keep": "last", "epochs": 1})
    assert quietly(last, cells, tmp_path).model.about["trained_on"]["splits"] == "train, val"
