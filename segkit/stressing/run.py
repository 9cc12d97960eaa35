"""Curves of score against the strength of corruptions and attacks, of a model and of each member of an ensemble."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from segkit.allocator import reused_memory
from segkit.artifact import AnyModel
from segkit.columns import in_columns
from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.data.masks import IGNORE, Ids
from segkit.data.model_input import read_input
from segkit.drawing.figure import save_figure
from segkit.ensemble import Ensemble
from segkit.errors import DataError, NotFiniteError, UsageError
from segkit.evaluation.looks import probabilities_with_members
from segkit.evaluation.metrics import SegmentationMetrics, headline
from segkit.evaluation.seen import seen_before
from segkit.files import write_whole
from segkit.json_text import json_text
from segkit.labels import at_temperature, labels_at, threshold_at
from segkit.nearest import nearest
from segkit.prediction.evaluating import evaluating
from segkit.prediction.of_sample import check_fit, spacing_of
from segkit.prediction.predictor import Predictor
from segkit.progress import Progress
from segkit.stressing.corruptions import STRENGTHS, corrupted
from segkit.stressing.fgsm import STRENGTHS as ATTACKS
from segkit.stressing.fgsm import gradient_sign
from segkit.training.losses import build_loss

WINDOW = 512  # side of the middle of a picture that is attacked: gradients of more take much memory
KINDS: dict[str, tuple[float, ...]] = {"fgsm": ATTACKS, **STRENGTHS}
ACROSS = {
    "fgsm": "FGSM: largest change of a value, in 255ths",
    "noise": "noise: deviation in 0..1",
    "blur": "blur: deviation in pixels",
    "contrast": "contrast left",
    "jpeg": "quality of the JPEG",
}

Curves = dict[str, dict[str, list[tuple[float, float]]]]


@dataclass(frozen=True)
class Robustness:
    """How scores fall.

    Attributes:
        curves: by kind and then by model, ``model`` or ``the ensemble`` first and then its members: pairs of strength
            and score, from weak to strong.
        clean: the score of each without any change; for attacks the same, on the windows that are attacked.
        score: what scores are, in words.
        on: the pictures, in words.
        notes: what makes the scores look better than they will be.
    """

    curves: Curves
    clean: dict[str, dict[str, float]]
    score: str
    on: str
    notes: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "score": self.score,
            "on": self.on,
            "clean": self.clean,
            "curves": self.curves,
            "notes": list(self.notes),
        }

    def table(self) -> str:
        """The same as text: a line a model and kind."""
        lines = [f"{self.score}, on {self.on}"]
        for kind, by_model in self.curves.items():
            strengths = [strength for strength, _ in next(iter(by_model.values()))]
            rows = [["", "none", *(f"{_shown(kind, each):.4g}" for each in strengths)]]
            for name, curve in by_model.items():
                values = [self.clean[kind][name], *(value for _, value in curve)]
                rows.append([name, *(f"{value:.4f}" for value in values)])
            lines += ["", ACROSS[kind], *in_columns(rows)]
        if self.notes:
            lines += ["", *(f"note: {note}" for note in self.notes)]
        return "\n".join(lines)

    def save(self, folder: str | Path) -> Path:
        """Write ``robustness.json``, ``table.txt`` and ``robustness.png`` and return the folder."""
        folder = Path(folder)
        write_whole(folder / "robustness.json", json_text(self.figures))
        write_whole(folder / "table.txt", self.table() + "\n")
        self._draw(folder / "robustness.png")
        return folder

    def _draw(self, path: Path) -> None:
        figure = Figure(figsize=(4.2 * len(self.curves), 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        plots = figure.subplots(1, len(self.curves), squeeze=False, sharey=True)[0]
        for axes, (kind, by_model) in zip(plots, self.curves.items(), strict=True):
            for number, (name, curve) in enumerate(by_model.items()):
                values = [self.clean[kind][name], *(value for _, value in curve)]
                axes.plot(range(len(values)), values, "o-", label=name, linewidth=2.2 if number == 0 else 1.1)
            axes.set_xticks(
                range(len(KINDS[kind]) + 1), ["none", *(f"{_shown(kind, each):.3g}" for each in KINDS[kind])]
            )
            axes.set_xlabel(ACROSS[kind])
            axes.grid(alpha=0.3)
        plots[0].set_ylabel(self.score)
        plots[0].legend(fontsize="small")
        figure.suptitle(self.on, fontsize="medium")
        save_figure(figure, path, dpi=130)


@reused_memory()
def stress(
    model: AnyModel,
    data: str | Path,
    split: str = "test",
    *,
    kinds: Sequence[str] = tuple(KINDS),
    most: int = 50,
    seed: int = 0,
    progress: Progress | None = None,
    **how: Any,
) -> Robustness:
    """Score a model, and each member of an ensemble, on pictures that are corrupted or attacked.

    Corrupted pictures are the same for all. An attack is made for each model by its own gradient, the ensemble's by
    that of the whole before its temperature, on the middle of the picture, at most 512 × 512 pixels.

    Args:
        model: a model.
        data: the dataset's folder.
        split: its pictures; several are joined by ``+``.
        kinds: of corruptions: fgsm, noise, blur, contrast, jpeg.
        most: so many pictures at most, evenly spread over the split.
        seed: of the noise.
        progress: called after each picture and kind with the number done, the number of all, and what it was.
        **how: settings of the predictor: tile, overlap, tta, precision.

    Raises:
        UsageError: an unknown kind; an attack on a model that has no gradient, such as an exported one.
        ModelError: the model is of other classes than the dataset.
        DataError: a picture or mask that can't be used.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"no corruption {kind!r}{nearest(kind, KINDS)}")
    if not kinds or most < 1 or seed < 0:
        raise UsageError(f"most={most}, seed={seed}: expected at least one kind and one picture, and a seed from 0 on")
    folder = open_dataset(data)
    check_fit(model, folder)
    samples = folder.samples(*split.split("+"))
    samples = [samples[i] for i in np.linspace(0, len(samples) - 1, min(most, len(samples))).round().astype(int)]
    predictor = Predictor(model, **how)
    if any(sample.volume for sample in samples):
        raise UsageError(f"{folder.path}: has volumes; pictures alone are stressed")
    scoring, channels = _Scoring(model, predictor, folder), model.reader.channels
    steps, total = count(1), len(samples) * len(kinds)

    def tell(what: str) -> None:
        if progress is not None:
            progress(next(steps), total, what)

    for number, sample in enumerate(samples):
        image = read_input(folder, sample, model.reader)
        assert isinstance(image, np.ndarray)  # no volume
        target = folder.read_mask(sample, image.shape[:2])
        common = [kind for kind in kinds if kind != "fgsm"]
        if common:
            scoring.count("", 0, sample, image, target)
        for kind in common:
            for place, strength in enumerate(KINDS[kind]):
                changed = corrupted(image[..., :channels], kind, strength, seed + number)
                changed = np.concatenate([changed, image[..., channels:]], axis=2)
                scoring.count(kind, place, sample, changed, target)
            tell(f"{sample.name}, {kind}")
        if "fgsm" in kinds:
            scoring.attack(sample, image, target)
            tell(f"{sample.name}, fgsm")
    found = scoring.result(kinds, f"{len(samples)} pictures of {split} of {folder.name}")
    return replace(found, notes=tuple(seen_before(model, folder, samples, split, None)))


class _Scoring:
    """Counts of every model at every strength of every kind."""

    def __init__(self, model: AnyModel, predictor: Predictor, folder: DatasetFolder) -> None:
        self.model, self.predictor, self.folder = model, predictor, folder
        members = model.names if isinstance(model, Ensemble) else ()
        self.names = ("the ensemble", *members) if members else ("model",)  # no member's name has a space
        self.labelling = predictor.labelling()
        self.of_members = threshold_at(self.labelling.threshold, 1 / predictor.temperature)
        self._metrics: dict[tuple[str, int, str], SegmentationMetrics] = {}
        self._loss = build_loss({"cross_entropy": 1.0}, task=folder.task, classes=len(folder.classes))

    def count(self, kind: str, place: int, sample: Sample, image: NDArray[np.float32], target: Ids) -> None:
        """Count one picture for all models."""
        ready = cast("AnyModel", self.predictor.prepared)

        def ask(tiles: Tensor) -> Tensor:
            return torch.cat(probabilities_with_members(ready, tiles), dim=1)

        maps = np.concatenate(list(self.predictor.rows(ask, image)), axis=1)
        for part, name in zip(np.split(maps, len(self.names)), self.names, strict=True):
            self._add(kind, place, name, sample, part, target)

    def attack(self, sample: Sample, image: NDArray[np.float32], target: Ids) -> None:
        """Attack each model on the middle of one picture."""
        most = max(image.shape[:2]) if self.model.takes_whole_images else WINDOW
        rows, columns = (_middle(side, most) for side in image.shape[:2])
        inside = torch.from_numpy(np.ascontiguousarray(image[rows, columns].transpose(2, 0, 1)))[None]
        truth = torch.from_numpy(np.ascontiguousarray(target[..., rows, columns]))[None]
        truth = truth.float() if self.folder.task == "multilabel" else truth.long()
        if bool((truth == IGNORE).all()):
            return
        inside, truth = inside.to(self.predictor.device), truth.to(self.predictor.device)
        for name, probabilities in zip(self.names, self._questions(), strict=True):
            with evaluating(self.model):
                sign = gradient_sign(probabilities, inside, truth, self._loss, self.folder.task)
            channels = self.model.reader.channels  # depth is left as it is
            for place, strength in enumerate((0.0, *KINDS["fgsm"])):
                changed = (inside + strength * sign).clamp(0, 1)
                changed[:, channels:] = inside[:, channels:]
                attacked = changed[0].permute(1, 2, 0).cpu().numpy()
                maps = np.concatenate(list(self.predictor.rows(probabilities, attacked)), axis=1)
                kind = "fgsm" if place else "fgsm, none"
                self._add(kind, max(place - 1, 0), name, sample, maps, target[..., rows, columns])

    def result(self, kinds: Sequence[str], on: str) -> Robustness:
        """The curves."""
        if "fgsm" in kinds and ("fgsm", 0, self.names[0]) not in self._metrics:
            kinds = [kind for kind in kinds if kind != "fgsm"]
            on += " (no fgsm: nothing counts in the middle of any, so there is nothing to attack there)"
        if not kinds or not self._metrics:
            raise DataError(f"{on}: nothing counts in the middle of any picture, so there is nothing to attack there")
        what = headline(next(iter(self._metrics.values())).compute())[0]
        curves: Curves = {
            kind: {
                name: [(strength, self._score(kind, place, name)) for place, strength in enumerate(KINDS[kind])]
                for name in self.names
            }
            for kind in kinds
        }
        clean = {
            kind: {name: self._score("fgsm, none" if kind == "fgsm" else "", 0, name) for name in self.names}
            for kind in kinds
        }
        return Robustness(curves, clean, what, on)

    def _questions(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """Of the whole before its temperature, which comes after windows are blended; of members at theirs."""
        plain = self.model
        if self.predictor.temperature != 1:
            plain = copy.copy(self.model)
            vars(plain)["temperature"] = 1.0
        yield plain.probabilities
        if isinstance(self.model, Ensemble):
            for place in range(len(self.model.members)):
                yield partial(self.model.member_probabilities, place)

    def _score(self, kind: str, place: int, name: str) -> float:
        return float(headline(self._metrics[kind, place, name].compute())[1])

    def _add(self, kind: str, place: int, name: str, sample: Sample, maps: NDArray[np.float32], target: Ids) -> None:
        if not np.isfinite(maps).all():
            raise NotFiniteError(f"{sample.name}: {name} gives values that are not finite; was its training finite?")
        key, task = (kind, place, name), self.folder.task
        whole = name == self.names[0]
        threshold = self.labelling.threshold if whole else self.of_members
        if key not in self._metrics:
            self._metrics[key] = SegmentationMetrics(self.folder.classes, task, self.folder.background, threshold)
        temperature = self.predictor.temperature if whole else 1.0
        labels = labels_at(maps, temperature, task, threshold)
        if whole:  # steps are the whole's, members are scored as they are
            maps = at_temperature(maps, temperature, task)
            spacing = spacing_of(self.predictor, sample) if self.labelling.steps is not None else None
            labels = self.labelling.labels(maps, labels, self.model, spacing=spacing)
        self._metrics[key].update(sample.name, labels, target)


def _shown(kind: str, strength: float) -> float:
    """A strength as people read it."""
    return strength * 255 if kind == "fgsm" else strength


def _middle(side: int, most: int) -> slice:
    start = max(0, (side - most) // 2)
    return slice(start, start + most)
