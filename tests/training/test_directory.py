import multiprocessing
import os
import signal

import pytest

from segkit.data.synthetic import draw_cells
from segkit.errors import DataError, ModelError, RecipeError, UsageError
from segkit.training.directory import RunDirectory, new_run, unfinished_run
from segkit.training.module import TrainingModule
from segkit.training.run import train


def test_a_run_appears_with_its_recipe_and_its_state(recipe, tmp_path):
    run = new_run(tmp_path / "runs", recipe(), "abc")
    assert run.path == tmp_path / "runs" / "tiny"
    assert sorted(p.name for p in run.path.iterdir()) == ["checkpoints", "recipe.yaml"]
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["tiny"]
    assert new_run(tmp_path / "runs", recipe(), "abc").path.name == "tiny-2"


def test_the_newest_unfinished_run_of_the_recipe_is_found(recipe, tmp_path):
    first, second, other = (
        new_run(tmp_path, each, "abc") for each in (recipe(), recipe(), recipe(train={"epochs": 7}))
    )
    for age, run in enumerate((other, second, first)):
        os.utime(run.path / "recipe.yaml", (1e9 - age, 1e9 - age))
    assert unfinished_run(tmp_path, recipe()).path == second.path
    second.finish()
    assert unfinished_run(tmp_path, recipe()).path == first.path
    assert unfinished_run(tmp_path, recipe(train={"epochs": 7})).path == other.path


def test_a_run_knows_its_finished_members(recipe, tmp_path):
    run = new_run(tmp_path, recipe(), "abc")
    run.checkpoint("first").touch()
    run.finish_member("first", 1.5)
    assert not run.checkpoint("first").exists()
    assert unfinished_run(tmp_path, recipe()).minutes == {"first": 1.5}


def test_without_an_unfinished_run_there_is_nothing_to_resume(recipe, tmp_path):
    with pytest.raises(UsageError, match=r"nothing to resume: there is no .*tiny; leave --resume out to"):
        unfinished_run(tmp_path / "runs", recipe())
    new_run(tmp_path, recipe(), "abc").finish()
    assert not (tmp_path / "tiny" / "checkpoints").exists()
    with pytest.raises(UsageError, match=r"nothing to resume: .*tiny is finished; leave --resume out"):
        unfinished_run(tmp_path, recipe())


def test_another_recipe_is_refused_by_the_key_that_differs(recipe, tmp_path):
    new_run(tmp_path, recipe(), "abc")
    for other, difference in (
        (recipe(train={"epochs": 3}), r"train\.epochs was 2, is 3"),
        (recipe(members=("first", "third")), r"ensemble\.members\.1\.name was 'second', is 'third'"),
        (recipe(members=("first",)), r"ensemble\.members\.1\.backbone\.name was 'stem', is None"),
        (recipe(loss={"dice": 1.0}), r"loss\.cross_entropy was 1\.0, is None"),
    ):
        with pytest.raises(RecipeError, match=rf"tiny began with another recipe: {difference}; resume takes"):
            unfinished_run(tmp_path, other)


def test_where_the_data_is_and_how_fast_it_is_read_may_change(recipe, tmp_path):
    new_run(tmp_path, recipe(), "abc")
    moved = recipe(data={"crop": 32, "augment": "light", "path": "elsewhere", "cache": False}, train={"workers": 3})
    assert unfinished_run(tmp_path, moved).path == tmp_path / "tiny"


def test_other_pictures_are_refused(recipe, cells, tmp_path, monkeypatch):
    interrupted(monkeypatch, recipe(), cells, tmp_path)
    others = draw_cells(tmp_path / "others", images=12, size=48, seed=1)
    with pytest.raises(DataError, match=r"others: other data, or another teacher, than .*tiny began"):
        train(recipe(), others, out=tmp_path, resume=True, console=False)
    same = draw_cells(tmp_path / "copy", images=12, size=48)
    assert train(recipe(), same, out=tmp_path, resume=True, console=False).directory == tmp_path / "tiny"


def test_a_damaged_state_is_named(recipe, tmp_path):
    run = new_run(tmp_path, recipe(), "abc")
    (run.path / "checkpoints" / "state.json").write_text("{}")
    with pytest.raises(ModelError, match=r"state\.json: damaged \(Field required\); start this run again"):
        unfinished_run(tmp_path, recipe())


def test_two_processes_never_train_one_run(recipe, tmp_path):
    run = new_run(tmp_path, recipe(), "abc")
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    with run.held():
        process = context.Process(target=hold, args=(run.path, theirs))
        process.start()
        assert ours.recv() == f"{run.path}: another process is training this run; wait for it or end it"
        process.join()
    with run.held():
        pass


def hold(path, pipe):
    try:
        with RunDirectory(path).held():
            pipe.send("held")
    except UsageError as error:
        pipe.send(str(error))


def test_what_a_killed_process_left_half_done_is_removed(recipe, tmp_path):
    run = new_run(tmp_path, recipe(), "abc")
    whole, half = run.path / "members" / "first" / "model", run.path / "members" / "second" / "model"
    for model in (whole, half):
        model.mkdir(parents=True)
        (model / "second.0123abcd.safetensors").touch()
    (whole / "segkit.json").touch()
    temporary = run.path / "checkpoints" / f".{'0a' * 16}.pt"
    temporary.touch()
    (run.path / ".mine").touch()
    run.tidy()
    assert whole.is_dir()
    assert not half.exists()
    assert not temporary.exists()
    assert (run.path / ".mine").exists()


def test_what_resuming_will_do_is_known(recipe, tmp_path):
    run = new_run(tmp_path, recipe(), "abc")
    assert run.going_on.startswith("the same command with --resume begins again")
    run.checkpoint("first").touch()
    assert run.going_on == "the same command with --resume goes on"
    run.finish_member("first", 1.0)
    assert run.going_on == "the same command with --resume goes on"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_and_ends_as_an_undisturbed_one(recipe, cells, tmp_path, monkeypatch, number):
    whole = train(recipe(), cells, out=tmp_path / "whole", console=False)
    handler = signal.getsignal(number)
    run = interrupted(monkeypatch, recipe(), cells, tmp_path, number)
    assert run.interrupted
    assert run.metrics == {}
    last = (run.directory / "log.txt").read_text().splitlines()[-1]
    assert last.endswith("the same command with --resume begins again: it was too soon to keep more")
    assert signal.getsignal(number) == handler
    again = train(recipe(), cells, out=tmp_path, resume=True, console=False)
    assert again.directory == run.directory
    assert again.metrics == whole.metrics
    for name, tensor in whole.model.state_dict().items():
        assert tensor.equal(again.model.state_dict()[name]), name
    with pytest.raises(UsageError, match="nothing to resume"):
        train(recipe(), cells, out=tmp_path, resume=True, console=False)


def interrupted(monkeypatch, recipe, cells, out, number=signal.SIGINT):
    """A run that was asked to stop in its third step, which is the second epoch's first."""
    step, calls = TrainingModule.training_step, []

    def signalled(self, batch, index):
        calls.append(index)
        if len(calls) == 3:
            os.kill(os.getpid(), number)
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", signalled)
        return train(recipe, cells, out=out, console=False)
