"""What every kind of training has Lightning do."""

import warnings

import pytest
import torch

from segkit.errors import RecipeError
from segkit.sections import OptimisationRecipe
from segkit.training.trainer import default_device, enough_memory, loader_workers, make_trainer, without_advice


def test_a_trainer_goes_by_the_recipe_and_writes_nothing_to_the_console(tmp_path):
    with without_advice(), warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer = make_trainer(
            OptimisationRecipe(epochs=7, validate_every=3),
            [],
            device=default_device(),
            precision="fp32",
            folders=[tmp_path / "a", tmp_path / "b"],
            epochs_done=2,
            accumulate=4,
        )
    assert (trainer.max_epochs, trainer.check_val_every_n_epoch, trainer.accumulate_grad_batches) == (7, 3, 4)
    assert [logger.save_dir for logger in trainer.loggers] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert trainer.progress_bar_callback is None


def test_workers_are_as_many_as_wanted_or_half_the_cores(monkeypatch):
    assert loader_workers(3) == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert loader_workers("auto") == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert loader_workers("auto") == 4


def test_too_little_memory_is_said_with_what_takes_less():
    expected = pytest.raises(RecipeError, match=r"train.batch=32 takes more memory than the GPU has; take less")
    with expected, enough_memory(32):
        raise torch.OutOfMemoryError("CUDA out of memory")
