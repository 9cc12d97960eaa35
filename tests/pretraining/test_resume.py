"""Pretraining that is killed, and goes on with resume: it ends as if nothing had happened, to the bit."""

import csv

import pytest
from safetensors.torch import load_file

from segkit.errors import DataError, RecipeError
from segkit.pretraining import engine
from segkit.pretraining.allotted_time import AllottedTime
from segkit.pretraining.module import PretrainModule
from segkit.pretraining.run import pretrain
from segkit.training import allowance

EVERYTHING = {
    "classify": {"label_smoothing": 0.1, "mixup": 0.4, "cutmix": 1.0, "mix": 0.8},
    "augment": {"rand_augment": {"operations": 1}, "jitter": {"hue": 0.1, "contrast": 0.2}, "erase": 0.5},
}
TRAIN = {"epochs": 4, "accumulate": 2, "validate_every": 2, "deterministic": True, "layer_decay": 0.7}


class KilledError(Exception):
    """In the place of a signal that nothing answers."""


@pytest.fixture(autouse=True)
def _a_checkpoint_after_every_epoch(monkeypatch):
    monkeypatch.setattr(allowance, "PAUSE", 0)
    monkeypatch.setattr(allowance, "SHARE", float("inf"))


@pytest.fixture
def kill(monkeypatch):
    """Have a method raise at one of its calls."""

    def patch(owner, name, call):
        plain, calls = getattr(owner, name), []

        def counted(*arguments, **options):
            calls.append(name)
            if len(calls) == call:
                raise KilledError
            return plain(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    return patch


def left(run):
    """Everything that a run leaves but times."""
    times = ("seconds", "images_per_second")
    rows = [{k: v for k, v in row.items() if k not in times} for row in csv.DictReader((run / "metrics.csv").open())]
    weights = {name: tensor.numpy().tobytes() for name, tensor in load_file(run / "backbone.safetensors").items()}
    (model,) = (run / "model").glob("*.safetensors")
    return rows, weights, model.read_bytes(), (run / "confusion.csv").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def undisturbed(recipe, colours, folder):
    if not (folder / "tiny" / "model").exists():
        pretrain(recipe(train=TRAIN, **EVERYTHING), colours, out=folder, console=False)
    return left(folder / "tiny")


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (PretrainModule, "training_step", 10),  # in the third epoch
        (PretrainModule, "validation_step", 2),
        (engine, "kept_weights", 1),
    ],
    ids=["in an epoch", "in a validation", "at the end"],
)
def test_a_killed_run_ends_as_one_that_never_stopped(
    recipe, colours, tmp_path, undisturbed, kill, monkeypatch, owner, name, call
):
    settings = recipe(train=TRAIN, **EVERYTHING)
    kill(owner, name, call)
    with pytest.raises(KilledError):
        pretrain(settings, colours, out=tmp_path, console=False)
    monkeypatch.undo()
    found = pretrain(settings, colours, out=tmp_path, resume=True, console=False)
    assert "resumed at epoch" in (found.directory / "log.txt").read_text()
    assert left(found.directory) == undisturbed


def test_with_minutes_the_clock_goes_on_from_where_it_was(recipe, colours, tmp_path, kill, monkeypatch):
    settings = recipe(train={**TRAIN, "minutes": 10})
    seconds = []
    kill(PretrainModule, "training_step", 10)
    plain = AllottedTime.load_state_dict
    monkeypatch.setattr(AllottedTime, "state_dict", lambda _self: {"seconds": 123.0})
    with pytest.raises(KilledError):
        pretrain(settings, colours, out=tmp_path, console=False)
    monkeypatch.undo()
    monkeypatch.setattr(AllottedTime, "load_state_dict", lambda self, state: (plain(self, state), seconds.append(self)))
    pretrain(settings, colours, out=tmp_path, resume=True, console=False)
    (clock,) = seconds
    assert 123 < clock.spent < 183


def test_only_the_same_recipe_and_data_are_resumed(recipe, colours, tmp_path, kill, monkeypatch):
    kill(PretrainModule, "training_step", 2)
    with pytest.raises(KilledError):
        pretrain(recipe(), colours, out=tmp_path, console=False)
    monkeypatch.undo()
    with pytest.raises(RecipeError, match=r"train.learning_rate was 0.001, is 0.1; resume takes the recipe"):
        pretrain(recipe(train={"learning_rate": 0.1}), colours, out=tmp_path, resume=True)
    other = tmp_path / "other"
    for split in ("train", "val"):
        for name in ("blue", "red"):
            (other / split / name).mkdir(parents=True)
            for file in (colours / split / name).iterdir():
                (other / split / name / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="other data, or another teacher, than"):
        pretrain(recipe(), other, out=tmp_path, resume=True)
    assert pretrain(recipe(train={"workers": 1}), colours, out=tmp_path, resume=True, console=False).metrics
