"""What every kind of training has Lightning do."""

import warnings

import pytest
import torch

from segkit.devices import default_device
from segkit.errors import RecipeError
from segkit.precision import fastest
from segkit.sections import OptimisationRecipe
from segkit.training.trainer import arithmetic, make_trainer, within_limits, without_advice


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


def test_too_little_memory_is_said_with_what_takes_less():
    expected = pytest.raises(RecipeError, match=r"train.batch=32 takes more memory than the GPU has; take less")
    with expected, within_limits(32):
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set ...",
            r"train\.deterministic: this GPU can't \(adaptive_avg_pool2d_backward_cuda",
        ),
        (
            "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible ...",
            r"train\.workers: a process that reads was ended \(DataLoader worker .*docker run --shm-size=2g\)",
        ),
    ],
)
def test_what_a_machine_can_t_do_names_the_key(said, message):
    with pytest.raises(RecipeError, match=message), within_limits(2):
        raise RuntimeError(said)


@pytest.mark.parametrize("said", ["something else", "Caught RuntimeError in DataLoader worker process 0. Or else"])
def test_other_errors_pass(said):
    with pytest.raises(RuntimeError, match="else"), within_limits(2):
        raise RuntimeError(said)


def test_fp16_takes_a_gpu():
    with pytest.raises(RecipeError, match="fp16: processors don't compute it; take bf16, fp32 or auto"):
        arithmetic("fp16", torch.device("cpu"))
    assert arithmetic("fp16", torch.device("cuda")) == "fp16"
    assert arithmetic("fp32", torch.device("cpu")) == "fp32"
    assert arithmetic("auto", torch.device("cpu")) == fastest(torch.device("cpu"))
