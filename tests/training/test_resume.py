"""Training that is killed, and the same command with --resume: it ends as if nothing had happened."""

import csv
import itertools
import json
import multiprocessing
import random
import shutil
import signal
import time

import pytest
import yaml

from segkit.data.synthetic import draw_cells

RECIPE = {
    "name": "tiny",
    "data": {"crop": 32, "augment": "medium"},
    "ensemble": {
        "members": [
            {
                "name": "swin",
                "backbone": {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "drop_path": 0.3},
                "neck": {"name": "fpn", "width": 8},
                "auxiliary": 1,
                "train": {"freeze": 1, "layer_decay": 0.5, "gradient_checkpointing": True},
            },
            {
                "name": "stem",
                "backbone": {"name": "stem", "width": 4},
                "neck": {"name": "unet", "widths": [4]},
                "train": {"keep": "last", "workers": 1, "early_stopping": 2, "accumulate": 2},
            },
        ]
    },
    "train": {
        "epochs": 4,
        "batch": 3,
        "learning_rate": 0.02,
        "workers": 0,
        "ema": 0.5,
        "validate_every": 2,
        "deterministic": True,
    },
    "predict": {"tile": 32},
}

# A checkpoint after every epoch, however slow the disk; norms fixed for the second half; then the command, killed by
# its own hand where that is asked.
PROGRAM = """
import importlib, multiprocessing, os, signal, sys
import segkit.training.allowance
import segkit.training.callbacks
from segkit.cli.main import main

multiprocessing.set_start_method("fork", force=True)  # for the loader's workers, as when started by a shell
segkit.training.allowance.PAUSE, segkit.training.allowance.SHARE = 0, float("inf")
segkit.training.callbacks.FIXED_FROM = 0.5
if kill is not None:
    module, owner, name, call = kill
    place = importlib.import_module(module)
    place = getattr(place, owner) if owner else place
    whole, calls = getattr(place, name), []

    def counted(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments, **options)

    setattr(place, name, counted)
sys.exit(main(words))
"""

IN_THE_THIRD_EPOCH = ("segkit.training.module", "TrainingModule", "training_step", 6)
IN_THE_SECOND_MEMBER = ("segkit.training.progress", "EpochTable", "on_train_epoch_end", 4)
WHILE_A_MODEL_IS_SAVED = ("segkit.artifact.saving", "", "write_whole", 1)
OTHERS = (
    ("segkit.training.module", "TrainingModule", "training_step", 1),
    ("segkit.training.module", "TrainingModule", "validation_step", 4),
    ("segkit.training.checkpoint", "", "write_checkpoint", 2),
    ("segkit.training.directory", "RunDirectory", "finish_member", 1),
    ("segkit.training.scoring", "", "evaluate", 1),
    ("segkit.training.directory", "RunDirectory", "finish", 1),
)


class Trainings:
    """The command, run in processes of their own with the same recipe and data, each into a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.data = draw_cells(folder / "cells", images=12, size=48)
        (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
        # Forked from a server that has imported everything and computed nothing: quick, and with no threads to lose.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["segkit.training.run", "segkit.cli.main"])

    def start(self, out, *, resume=False, kill=None):
        words = ["train", str(self.folder / "tiny.yaml"), "--data", str(self.data), "--out", str(out), "--json"]
        given = {"words": [*words, "--resume"] if resume else words, "kill": kill}
        process = self.context.Process(target=exec, args=(PROGRAM, given))
        process.start()
        return process

    def run(self, out, **options):
        process = self.start(out, **options)
        process.join()
        return process.exitcode


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    return Trainings(tmp_path_factory.mktemp("resume"))


@pytest.fixture(scope="module")
def undisturbed(trainings):
    assert trainings.run(trainings.folder / "undisturbed") == 0
    return outcome(trainings.folder / "undisturbed")


def outcome(out):
    """All that a run leaves, apart from times: names and bytes of the weights, scores, tables."""
    (run,), left = out.glob("tiny*"), {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        assert not path.name.startswith(".")
        assert "checkpoints" not in name
        if path.suffix == ".safetensors" or path.parent.name == "validation":
            left[name] = path.read_bytes()
        elif path.name == "metrics.csv":
            with path.open() as file:
                rows = list(csv.DictReader(file))
            left[name] = [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]
        elif path.name == "segkit.json":
            about = json.loads(path.read_text())
            for each in (about, *about["members"]):
                trained = each["about"].get("trained_on", {})
                assert trained.pop("minutes", 0) >= 0
                trained.pop("date", None)  # of another day after midnight
            left[name] = about
    return left


def test_what_is_compared_is_everything(undisturbed):
    assert [row["epoch"] for row in undisturbed["members/swin/metrics.csv"]] == ["1", "2", "3", "4"]
    assert len([name for name in undisturbed if name.endswith(".safetensors")]) == 4
    assert undisturbed["model/segkit.json"]["about"]["trained_on"]["finished"] is True


@pytest.mark.parametrize("moment", [pytest.param(moment, marks=pytest.mark.slow) for moment in OTHERS])
def test_a_killed_run_ends_as_an_undisturbed_one(trainings, undisturbed, tmp_path, moment):
    assert trainings.run(tmp_path, kill=moment) == -signal.SIGKILL
    assert trainings.run(tmp_path, resume=True) == 0
    assert outcome(tmp_path) == undisturbed


def test_killed_in_each_member_and_between_them(trainings, undisturbed, tmp_path):
    assert trainings.run(tmp_path, kill=IN_THE_THIRD_EPOCH) == -signal.SIGKILL
    assert trainings.run(tmp_path, resume=True, kill=WHILE_A_MODEL_IS_SAVED) == -signal.SIGKILL
    assert trainings.run(tmp_path, resume=True, kill=IN_THE_SECOND_MEMBER) == -signal.SIGKILL
    assert trainings.run(tmp_path, resume=True) == 0
    assert outcome(tmp_path) == undisturbed
    log = (tmp_path / "tiny" / "log.txt").read_text().splitlines()
    resumed = [line for line in log if "resumed" in line]
    assert resumed == [
        "swin (1/2): resumed at epoch 3",
        "swin (1/2): resumed at epoch 4",
        "stem (2/2): resumed at epoch 3",
    ]


@pytest.mark.slow
def test_killed_at_ten_random_moments(trainings, undisturbed, tmp_path):
    moments, began = random.Random(), time.perf_counter()
    assert trainings.run(tmp_path / "timed") == 0
    whole, out = time.perf_counter() - began, tmp_path / "killed"
    for _ in range(10):
        process = trainings.start(out, resume=begun(out))
        process.join(moments.uniform(0, whole))
        process.kill()
        process.join()
        if begun(out) and not unfinished(out):  # it was quicker: again from the beginning
            shutil.rmtree(out)
    assert trainings.run(out, resume=begun(out)) == 0
    assert outcome(out) == undisturbed


@pytest.mark.slow
def test_killed_at_every_third_flush_of_a_file_or_its_folder(trainings, undisturbed, tmp_path):
    for number in itertools.count(1, 3):  # they come in pairs, so either is met
        out = tmp_path / str(number)
        if trainings.run(out, kill=("os", "", "fsync", number)) == 0:
            break
        assert trainings.run(out, resume=begun(out)) == 0
        assert outcome(out) == undisturbed
    assert number > 50


def begun(out):
    return (out / "tiny").is_dir()


def unfinished(out):
    return (out / "tiny" / "checkpoints" / "state.json").is_file()
