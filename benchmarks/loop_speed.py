"""What `segkit train` costs over a bare PyTorch loop, and whether the loader keeps up with the model.

    python benchmarks/loop_speed.py [--rounds 3] [--tiny]

Both loops train the same members of `retina_ensemble` from the same first weights on the same batches of four 224²
crops, held in memory, with the same loss, auxiliary heads, fused AdamW, schedule, clipping, averaged weights, memory
layout and precision. The bare one is what one would write by hand and nothing else; segkit's has its tables, log and
TensorBoard, and keeps freed memory to be used again, as ``segkit.train`` does. As the bare loop doesn't, it runs a
second time with that, which shows what segkit's loop itself costs. A fourth loop is segkit's again, with the crops cut
and augmented while it trains. The loops take turns; the figures are milliseconds a step, and the ratios medians over
the rounds.

Checkpoints, curves and sample pictures are rationed to ``rationed_at_most`` of the time together and don't come up in
these short runs, so that share is added in the figures ``…_at_most``. Nor does measuring BatchNorm's statistics,
which is done once, before the last fifth of the epochs: ``norms_share`` is its time over that of all steps of the
recipe's own number of epochs, on these pictures. Imports, building the model and saving it are not counted. The
loader alone is timed on its own.

About 20 minutes on two cores. A part whose result is in ``benchmarks/results/loop_speed.json`` is not run again;
``--tiny`` trains something small for seconds, to see that all of it runs, and prints without writing.
"""

import argparse
import json
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch
from machine import machine
from rich.console import Console
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

import segkit.training.member as training
from segkit.allocator import reused_memory
from segkit.data.batches import collate
from segkit.data.epoch_sampler import EpochSampler
from segkit.data.folder import DatasetFolder, open_dataset
from segkit.data.synthetic import draw_cells
from segkit.precision import fastest
from segkit.recipe import Member, Recipe
from segkit.recipe_file import load_recipe
from segkit.training import allowance
from segkit.training.interrupt import StopRequest
from segkit.training.log import Log
from segkit.training.module import AUXILIARY_WEIGHT, TrainingModule
from segkit.training.plan import Plan, build_segmenter, make_plan
from segkit.training.population import measure_norms, plain_batches

RESULTS = Path(__file__).parent / "results" / "loop_speed.json"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
WIDTH, HEIGHT = 565, 584  # of DRIVE's pictures
IMAGES, EPOCHS = 5, 3  # trained on: a loop is 3 epochs of 10 steps


class Prepared(Dataset[dict[str, Any]]):
    """The first epoch's crops of a dataset, held in memory; every epoch has the same."""

    def __init__(self, dataset: Any) -> None:
        self.seed = dataset.seed
        self._items = [dataset[0, index] for index in range(len(dataset))]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        return self._items[key[1]]


class Timed(TrainingModule):
    """The module that segkit trains, with a stopwatch from before the first step until the last epoch's row."""

    seconds = 0.0

    def on_train_start(self) -> None:
        self._began = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        Timed.seconds = time.perf_counter() - self._began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    training.TrainingModule = Timed
    allowance.PAUSE = float("inf")
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() and not arguments.tiny else {}
    with tempfile.TemporaryDirectory() as temporary:
        recipe = load_recipe("retina_ensemble", [f"train.epochs={EPOCHS}", *(SMALL if arguments.tiny else ())])
        folder = open_dataset(draw_pictures(Path(temporary) / "cells"))
        parts = {
            member.name: lambda member=member, index=index: loops(
                make_plan(member, index, recipe, folder), folder, recipe, Path(temporary), arguments.rounds
            )
            for index, member in enumerate(recipe.members())
        }
        parts["loader"] = lambda: loader(recipe.members()[0], recipe, folder)
        for name, measure in parts.items():
            if name not in results:
                results[name] = {**measure(), "machine": machine()}
                if not arguments.tiny:
                    RESULTS.parent.mkdir(exist_ok=True)
                    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(name, json.dumps(results[name]))


SMALL = (
    "ensemble.members.0.backbone={name: stem, width: 4, depth: 3}",
    "ensemble.members.0.neck={name: unet, widths: [4, 8]}",
    "ensemble.members.1.backbone={name: stem, width: 4, depth: 3}",
    "ensemble.members.1.neck={name: attention_unet, widths: [4, 8]}",
    "data.crop=32",
    "data.crops_per_image=4",
)


def draw_pictures(path: Path) -> Path:
    """Drawn cells in pictures of DRIVE's size."""
    # The recipe trains on the validation picture too.
    draw_cells(path, images=IMAGES + 1, size=HEIGHT, splits=[share / (IMAGES + 1) for share in (IMAGES - 1, 1, 1)])
    for kind in ("images", "masks", "depth"):
        for file in (path / kind).iterdir():
            cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[:, :WIDTH])
    return path


def loops(plan: Plan, folder: DatasetFolder, recipe: Recipe, place: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds a step of the four loops, and what segkit's take more."""
    alone = plan.member.train.model_copy(update={"workers": 0})  # as the bare loop reads what is held
    member = plan.member.model_copy(update={"train": alone})
    held = replace(plan, member=member, dataset=Prepared(plan.dataset))
    steps = EPOCHS * (len(held.dataset) // plan.member.train.batch)
    seconds: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        taken = {"bare": bare(held, folder, steps)}
        with reused_memory():
            taken["bare_reusing_memory"] = bare(held, folder, steps)
            taken["segkit"] = ours(held, folder, recipe, place / f"{plan.member.name}_{number}_held")
            taken["segkit_with_loader"] = ours(plan, folder, recipe, place / f"{plan.member.name}_{number}_cut")
        if number > 0:  # the first round warms up
            for name, value in taken.items():
                seconds.setdefault(name, []).append(value / steps)
    batch = plan.member.train.batch
    rationed = 3 * allowance.SHARE
    epochs = load_recipe("retina_ensemble").members()[plan.index].train.epochs
    whole = epochs * (len(plan.dataset) // batch)  # steps
    over = {name: ratio(seconds["segkit"], seconds[name]) for name in ("bare", "bare_reusing_memory")}
    return {
        **{f"{name}_ms": round(1000 * median(each), 1) for name, each in seconds.items()},
        "rationed_at_most": rationed,
        "norms_share": round(norms(plan, folder, epochs) / (whole * median(seconds["bare"])), 4),
        **{f"segkit_over_{name}": value for name, value in over.items()},
        **{f"segkit_over_{name}_at_most": round(value + rationed, 4) for name, value in over.items()},
        "with_loader_over_held_batches": ratio(seconds["segkit_with_loader"], seconds["segkit"]),
        "bare_images_per_second": round(batch / median(seconds["bare"]), 2),
        "batch": batch,
        "steps": steps,
        "rounds": rounds,
        "precision": fastest(DEVICE),
    }


def norms(plan: Plan, folder: DatasetFolder, epochs: int) -> float:
    """Seconds of measuring BatchNorm's statistics anew, which a training of so many epochs does once."""
    model = build_segmenter(plan, folder).to(DEVICE, memory_format=torch.channels_last)
    batches = list(plain_batches(plan.dataset, plan.member.train.batch, epochs))
    bf16 = fastest(DEVICE) == "bf16"
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        with torch.autocast(DEVICE.type, torch.bfloat16) if bf16 else nullcontext():
            measure_norms(model, batches)
        taken.append(time.perf_counter() - began)
    return median(taken)


def ratio(of: list[float], to: list[float]) -> float:
    """Median over the rounds of the ratio within each round."""
    return round(median(a / b for a, b in zip(of, to, strict=True)), 4)


def ours(plan: Plan, folder: DatasetFolder, recipe: Recipe, place: Path) -> float:
    """Seconds of segkit's training, from before the first step until the last table is written."""
    place.mkdir()
    log = Log(place / "log.txt", Console(quiet=True))
    checkpoint = place / "checkpoints" / "member.pt"
    where = [training.Place("", place)]
    training.train_members([plan], folder, recipe.predict, where, checkpoint, log, StopRequest(log.say))
    return Timed.seconds


def bare(plan: Plan, folder: DatasetFolder, steps: int) -> float:
    """Seconds of a loop as one would write it by hand."""
    train = plan.member.train
    torch.manual_seed(plan.seed)
    model = build_segmenter(plan, folder).to(DEVICE, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=train.learning_rate,
        betas=train.betas,
        weight_decay=train.weight_decay,
        fused=DEVICE.type == "cpu" or None,
    )
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, train.learning_rate, total_steps=steps + 1)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(train.ema or 0.999))
    sampler = EpochSampler(len(plan.dataset), seed=plan.seed)
    batches = DataLoader(plan.dataset, train.batch, sampler=sampler, collate_fn=collate, drop_last=True)
    bf16 = fastest(DEVICE) == "bf16"
    losses = []
    began = time.perf_counter()
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for batch in batches:
            image = batch["image"].to(DEVICE, memory_format=torch.channels_last)
            target = batch["target"].to(DEVICE)
            optimiser.zero_grad()
            with torch.autocast(DEVICE.type, torch.bfloat16) if bf16 else nullcontext():
                main, *auxiliary = model.forward_levels(image)
                loss = plan.loss(main, target)
                for logits in auxiliary:
                    loss = loss + AUXILIARY_WEIGHT / len(auxiliary) * plan.loss(logits, target)
            loss.backward()
            if train.clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip)
            optimiser.step()
            rate.step()
            average.update_parameters(model)
            losses.append(loss.detach())
        torch.stack(losses).mean().item()
    return time.perf_counter() - began


def loader(member: Member, recipe: Recipe, folder: DatasetFolder) -> dict[str, Any]:
    """Crops a second that the loader gives when nothing else runs, after one epoch to warm up."""
    figures = {}
    for workers in (0, 1):
        changed = member.model_copy(update={"train": member.train.model_copy(update={"workers": workers})})
        batches = training._loader(make_plan(changed, 0, recipe, folder))
        images = 0
        for epoch in range(1 + EPOCHS):
            if epoch == 1:
                began = time.perf_counter()
            batches.sampler.set_epoch(epoch)
            for batch in batches:
                images += len(batch["name"]) if epoch else 0
        figures[f"{workers}_workers_images_per_second"] = round(images / (time.perf_counter() - began), 1)
    return {**figures, "crop": member.data.crop, "picture": [WIDTH, HEIGHT], "augment": "retina_ensemble"}


if __name__ == "__main__":
    main()
