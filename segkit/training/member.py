"""Members, from their plans to their trained weights, with Lightning."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from segkit.data.batches import collate
from segkit.data.dataset import EvaluationDataset
from segkit.data.epoch_sampler import EpochSampler
from segkit.data.folder import DatasetFolder
from segkit.devices import default_device
from segkit.errors import RecipeError, SegkitError
from segkit.model import Segmenter
from segkit.one_line import one_line
from segkit.recipe import PredictRecipe
from segkit.training.callbacks import (
    AveragedValidation,
    EpochSeed,
    FixedNorms,
    KeepBest,
    SamplePictures,
    Thaw,
    kept_weights,
)
from segkit.training.checkpoint import Checkpoints, Stateful, read_checkpoint
from segkit.training.interrupt import StopRequest
from segkit.training.log import Log
from segkit.training.module import TrainingModule
from segkit.training.optimizer import counted
from segkit.training.plan import Plan, build_segmenter
from segkit.training.progress import Bar, EpochTable
from segkit.training.rounding import round_weights
from segkit.training.samples import draw_samples, to_show
from segkit.training.start import NORMALISATION, OWN
from segkit.training.together import Each, Together
from segkit.training.trainer import (
    arithmetic,
    deterministic,
    make_trainer,
    within_limits,
    without_advice,
)
from segkit.workers import ignore_interrupts, loader_workers

SAMPLES = 4  # pictures drawn of each member


@dataclass(frozen=True)
class Trained:
    """A member after training.

    Attributes:
        segmenter: on the CPU, in evaluation mode.
        minutes: that led to its weights.
        complete: whether training wasn't stopped.
        ancestor: digest of the weights that it began with.
        fault: why it has no weights worth keeping; None where it has.
        diverged: why training couldn't go to its end, with the weights from before; None where it did.
    """

    segmenter: Segmenter
    minutes: float
    complete: bool
    ancestor: str
    fault: str | None
    diverged: str | None


@dataclass(frozen=True)
class Place:
    """Where a member's files go, and what it is called on the console.

    Attributes:
        title: the name.
        folder: for tables, curves, samples and TensorBoard's events.
    """

    title: str
    folder: Path


def train_members(
    plans: Sequence[Plan],
    folder: DatasetFolder,
    predict: PredictRecipe,
    places: Sequence[Place],
    checkpoint: Path,
    log: Log,
    stop: StopRequest,
) -> list[Trained]:
    """Train what the plans hold, from the checkpoint if there is one, and return it on the CPU, in eval mode.

    Several plans are trained together: every batch is one of the first plan's, and is given to all of them. They agree
    in all that decides what the batches are.

    Args:
        plans: what to train, on what.
        folder: the dataset.
        predict: how validation pictures are cut and thresholded.
        places: of each.
        checkpoint: the file to go on from, and to write checkpoints to.
        log: where to say what is done.
        stop: asked for by Ctrl-C; ends training after the step in hand.

    Raises:
        RecipeError: several plans in fp16.
        DataError: a picture that can't be used.
        ModelError: the checkpoint is damaged.
    """
    began = time.perf_counter()
    first, place = plans[0], places[0]
    train = first.member.train
    device = default_device()
    with without_advice():
        loader = _loader(first)
        trainees = [
            _trainee(plan, folder, predict, where, len(loader), log) for plan, where in zip(plans, places, strict=True)
        ]
        saved = read_checkpoint(checkpoint)
        if saved is not None:
            log.say(f"{place.title}: resumed at epoch {saved.epoch + 1}")
        done = saved.epoch if saved is not None else 0
        early = None
        if train.early_stopping:
            early = EarlyStopping("score", mode="max", patience=train.early_stopping, check_finite=False, strict=False)
        parts: dict[str, Stateful] = {"early_stopping": early} if early is not None else {}
        for trainee in trainees:
            parts |= {f"{trainee.plan.member.name} {name}": part for name, part in trainee.parts.items()}
        bar = Bar(place.title if len(plans) == 1 else f"{len(plans)} members", log.console)
        trainees[0].callbacks.append(bar)
        callbacks: list[L.Callback | None]
        module: L.LightningModule
        if len(trainees) == 1:
            module, callbacks = trainees[0].module, [EpochSeed(first.seed), *trainees[0].callbacks]
        else:
            seeds = [plan.seed for plan in plans]
            module = Together([trainee.module for trainee in trainees], seeds, train.accumulate)
            callbacks = [Each(number, trainee.callbacks) for number, trainee in enumerate(trainees)]
        callbacks += [stop, early, Checkpoints(checkpoint, parts, saved, log.say)]
        precision = arithmetic(train.precision, device)
        if precision == "fp16" and len(plans) > 1:  # one scale of the loss can't serve several optimisers
            if train.precision == "fp16":
                raise RecipeError("ensemble.joint computes in bf16 or fp32; set train.precision=auto")
            precision = "fp32"
        with deterministic(train.deterministic):
            trainer = make_trainer(
                train,
                [callback for callback in callbacks if callback is not None],
                device=device,
                precision=precision,
                folders=[each.folder for each in places],
                epochs_done=done,
                accumulate=train.accumulate if len(plans) == 1 else 1,
            )
            whole = EvaluationDataset(folder, first.validation, first.reader, depth=first.depth)
            validation = DataLoader(whole, 1, collate_fn=collate)
            del saved  # the trainer's callback has it now, and lets go of it
            try:
                with within_limits(train.batch):
                    trainer.fit(module, loader, validation if first.validation else None)
            except SegkitError as error:
                raise _as_raised(error) from None
        complete = not stop.requested  # what is asked for from here on finds nothing to stop
        faults = [trainee.finish(low=precision == "bf16") for trainee in trainees]
    spent = time.perf_counter() - began + trainees[0].table.resumed_at
    return [
        Trained(
            trainee.segmenter.eval(),
            spent / 60 / len(plans),
            complete,
            trainee.ancestor,
            fault,
            trainee.module.diverged,
        )
        for trainee, fault in zip(trainees, faults, strict=True)
    ]


@dataclass(frozen=True)
class _Trainee:
    """A member in training: its model, what is done beside its steps, and what a checkpoint keeps of it."""

    plan: Plan
    title: str
    segmenter: Segmenter
    ancestor: str
    module: TrainingModule
    best: KeepBest | None
    table: EpochTable
    draw: Callable[[], None]
    callbacks: list[L.Callback]
    parts: dict[str, Stateful]

    def finish(self, *, low: bool) -> str | None:
        """Give the segmenter the weights that training was for, in values of bfloat16 where it was trained in it.

        Where there are none worth keeping, say why.
        """
        weights = kept_weights(self.module, self.best)
        if isinstance(weights, str):
            return f"{self.title}: {weights}"
        self.segmenter.load_state_dict(dict(weights))
        self.segmenter.cpu().eval()
        if low:
            round_weights(self.segmenter)
        self.draw()
        return None


def _trainee(plan: Plan, folder: DatasetFolder, predict: PredictRecipe, place: Place, steps: int, log: Log) -> _Trainee:
    train, title = plan.member.train, place.title
    L.seed_everything(plan.seed, workers=True, verbose=False)
    # Convolutions on channels_last data run about twice as fast on CPUs and on tensor cores.
    segmenter = build_segmenter(plan, folder).to(memory_format=torch.channels_last)
    count = counted(segmenter, train.optimizer)
    log.say(f"{title}: {count}, {len(plan.samples)} pictures, {train.epochs} epochs of {steps} steps")
    names = {module: name for name, module in segmenter.backbone.named_modules()}
    trunks = segmenter.backbone.trunks
    for trunk in trunks:
        part = names[trunk] if len(trunks) > 1 else ""
        if trunk.pretrained is not None:
            log.say(f"{title}: weights{f' of {part}' if part else ''}: {trunk.pretrained}")
        elif not plan.member.model.start and not all(parameter.requires_grad for parameter in trunk.parameters()):
            said = f"note: the backbone{f' {part!r}' if part else ''} was given no weights"
            log.say(f"{title}: {said}; what is frozen stays as it began")
    module = TrainingModule(segmenter, plan.loss, train, predict, updates=train.epochs * -(-steps // train.accumulate))
    shown = to_show(folder, plan.validation or plan.samples, plan.reader, SAMPLES)

    def draw() -> None:
        try:
            draw_samples(segmenter, folder, shown, predict, place.folder / "samples")
        except Exception as error:  # whatever it is: they are to look at, and must not cost the model
            log.say(f"sample pictures not drawn: {one_line(error)}")

    best = KeepBest() if train.keep == "best" else None
    table = EpochTable(
        place.folder, partial(_named, log, title) if plan.joint else log.say, plan.index if plan.joint else 0
    )
    kept: dict[str, Stateful | None] = {
        "segmenter": segmenter,
        "average": module.average,
        "best": best,
        "table": table,
    }
    callbacks: list[L.Callback | None] = [
        Thaw(train.unfreeze, train.epochs) if train.unfreeze is not None else None,
        FixedNorms(plan.dataset, train.batch, train.epochs),
        # The first two look at the averaged weights, which the third puts in and takes out again.
        best,
        SamplePictures(draw),
        AveragedValidation(),
        table,
    ]
    return _Trainee(
        plan=plan,
        title=title,
        segmenter=segmenter,
        ancestor=_digest(segmenter),
        module=module,
        best=best,
        table=table,
        draw=draw,
        callbacks=[callback for callback in callbacks if callback is not None],
        parts={name: part for name, part in kept.items() if part is not None},
    )


def _named(log: Log, title: str, line: str) -> None:
    log.say(f"{title}: {line}")


def _as_raised(error: SegkitError) -> SegkitError:
    """An error of a loader's worker as it was there; PyTorch gives it with its traceback for a message."""
    lines = str(error).strip().splitlines()
    if len(lines) < 2 or not lines[0].startswith("Caught "):
        return error
    return type(error)(lines[-1].partition(": ")[2])


def _digest(segmenter: Segmenter) -> str:
    """Sixteen hexadecimal digits of the weights, but of those that every training draws or measures anew."""
    digest = hashlib.sha256()
    for name, tensor in sorted(segmenter.state_dict().items()):
        if name.startswith((*OWN, *NORMALISATION)):
            continue
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _loader(plan: Plan) -> DataLoader[dict[str, Any]]:
    train = plan.member.train
    workers = train.workers
    if workers == "auto":
        size = sum(value.nbytes for value in plan.dataset[0, 0].values() if isinstance(value, torch.Tensor))
        workers = loader_workers(workers, default_device(), train.batch * size, decoded=plan.dataset.decoded)
    return DataLoader(
        plan.dataset,
        batch_size=train.batch,
        sampler=EpochSampler(len(plan.dataset), seed=plan.dataset.seed),
        num_workers=workers,
        collate_fn=collate,
        drop_last=len(plan.dataset) >= train.batch,  # a last batch of one picture would break batch statistics
        persistent_workers=workers > 0,
        worker_init_fn=ignore_interrupts,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # a loader draws a number each time it begins; not from what training draws from
    )
