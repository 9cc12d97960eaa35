"""What each member is worth to an ensemble, and how far the members agree."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segkit.allocator import reused_memory
from segkit.columns import in_columns
from segkit.combining import Combination
from segkit.combining.sums import Sums
from segkit.data.folder import open_dataset
from segkit.ensemble import Ensemble
from segkit.errors import UsageError
from segkit.evaluation.metrics import SegmentationMetrics, headline
from segkit.evaluation.seen import seen_before
from segkit.files import write_whole
from segkit.fitting.agreement import agreement, draw_agreement
from segkit.fitting.heldout import HeldOut, hold_out, windows
from segkit.fitting.scores import member_scores
from segkit.json_text import json_text
from segkit.labels import labels_at
from segkit.prediction.of_sample import check_fit
from segkit.prediction.predictor import Predictor
from segkit.prediction.settings import settings_for
from segkit.progress import Progress

WORDS = {"logit_mean": "mean of logits"}  # of combinations whose names are none


@dataclass(frozen=True)
class Inspection:
    """An ensemble's inside; what was counted is None without pictures to count on.

    Attributes:
        names: of the members.
        combination: the way they are combined.
        weights: of each member, by class or one alone; None where they depend on the pixel.
        temperatures: of each member, and of the whole.
        score: what scores are, in words.
        whole: the ensemble's score.
        alone: each member's.
        without: the ensemble's, each member left out in turn; None where nothing is left, or nothing that counts.
        agreement: Cohen's kappa of each pair's labels, [M][M]; 1 is the same everywhere, 0 no more than by chance.
        on: the pictures, in words.
        note: what is to be said of the figures.
    """

    names: tuple[str, ...]
    combination: str
    weights: dict[str, list[float]] | None
    temperatures: tuple[dict[str, float], float]
    score: str | None = None
    whole: float | None = None
    alone: dict[str, float] | None = None
    without: dict[str, float | None] | None = None
    agreement: list[list[float]] | None = None
    on: str | None = None
    note: str | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        temperatures, temperature = self.temperatures
        return {**vars(self), "names": list(self.names), "temperatures": temperatures, "temperature": temperature}

    def table(self) -> str:
        """The same as text."""
        temperatures, temperature = self.temperatures
        lines = [f"{len(self.names)} members, combined by {WORDS.get(self.combination, self.combination)}"]
        if temperature != 1:
            lines[0] += f", temperature {temperature:.3f}"
        if self.score is not None:
            lines.append(f"{self.score}, on {self.on}: {self.whole:.4f}")
        head = ["member", "weight", "temperature"] + (["alone", "without it"] if self.alone is not None else [])
        rows = [head]
        for name in self.names:
            weights = " ".join(f"{each:.3f}" for each in self.weights[name]) if self.weights is not None else "by pixel"
            row = [name, weights, f"{temperatures[name]:.3f}"]
            if self.alone is not None and self.without is not None and self.whole is not None:
                rest = self.without[name]
                told = "–" if rest is None else f"{rest:.4f} ({rest - self.whole:+.4f})"
                row += [f"{self.alone[name]:.4f}", told]
            rows.append(row)
        lines += in_columns(rows, right=False)
        if self.agreement is not None:
            pairs = [
                (self.agreement[i][j], self.names[i], self.names[j])
                for i in range(len(self.names))
                for j in range(i + 1, len(self.names))
            ]
            if pairs:
                least = min(pairs)
                lines.append(f"agreement (Cohen's kappa): least {least[0]:.3f}, {least[1]} and {least[2]}")
            if len(pairs) > 1:
                most = max(pairs)
                lines.append(f"agreement (Cohen's kappa): most  {most[0]:.3f}, {most[1]} and {most[2]}")
        if self.note is not None:
            lines.append(self.note)
        return "\n".join(lines)

    def save(self, folder: str | Path) -> Path:
        """Write ``table.txt``, ``inspection.json`` and, where pictures were counted, ``agreement.png``."""
        folder = Path(folder)
        write_whole(folder / "inspection.json", json_text(self.figures))
        write_whole(folder / "table.txt", self.table() + "\n")
        if self.agreement is not None:
            title = f"Agreement of members on {self.on}"
            draw_agreement(self.agreement, self.names, title, folder / "agreement.png")
        return folder


@reused_memory()
def inspect(
    ensemble: Ensemble,
    data: str | Path | None = None,
    split: str = "test",
    *,
    progress: Progress | None = None,
    **how: Any,
) -> Inspection:
    """Look into an ensemble: its weights and, on pictures, what each member is worth and how far they agree.

    Of very large or very many pictures a window of each is looked at, see :func:`segkit.fitting.heldout.hold_out`.

    Args:
        ensemble: the ensemble.
        data: a dataset's folder; without it nothing is counted.
        split: its pictures.
        progress: called after each picture with the number done, the number of all, and the picture's name.
        **how: settings of the predictor: tile, overlap, tta, precision.

    Raises:
        ModelError: the ensemble is of other classes than the dataset.
        DataError: a picture or mask that can't be used.
        UsageError: volumes, of a gate or a stack.
    """
    combination = ensemble.combination
    table = combination.options().get("weights")
    inside = Inspection(
        names=ensemble.names,
        combination=combination.name,
        weights=None if table is None else dict(zip(ensemble.names, table, strict=True)),
        temperatures=(dict(zip(ensemble.names, ensemble.temperatures, strict=True)), ensemble.temperature),
    )
    if data is None:
        return inside
    folder = open_dataset(data)
    check_fit(ensemble, folder)
    samples = folder.samples(*split.split("+"))
    done = iter(range(1, len(samples) + 1))

    def tell(name: str) -> None:
        if progress is not None:
            progress(next(done), len(samples), name)

    if combination.name in ("gate", "stack") and any(sample.volume for sample in samples):
        raise UsageError(f"a {combination.name} looks at the pixels around each, of pictures alone; name no volumes")
    predictor = Predictor(ensemble, **how)
    pictures = hold_out(ensemble, predictor, folder, samples, progress=tell)
    notes = [windows(pictures), *seen_before(ensemble, folder, samples, split, None)]
    if predictor.postprocess is not None:
        notes.append("figures are of masks before what the model does to them afterwards (predict.postprocess)")
    everyone = range(len(ensemble.members))
    alone, score = member_scores(ensemble, pictures)
    return Inspection(
        **vars(inside)
        | {
            "score": score,
            "whole": _score(ensemble, pictures, everyone),
            "alone": alone,
            "without": {
                name: _score(ensemble, pictures, [i for i in everyone if i != left_out])
                for left_out, name in enumerate(ensemble.names)
            },
            "agreement": agreement(ensemble, pictures),
            "on": f"{split} of {folder.name}",
            "note": "; ".join(filter(None, notes)) or None,
        }
    )


def counts(combination: Combination, members: Sequence[int]) -> bool:
    """Whether some of the members say anything of every class: their weights aren't all 0."""
    table = combination.options().get("weights")
    return bool(members) and (
        table is None or all(any(column) for column in zip(*(table[i] for i in members), strict=True))
    )


@torch.no_grad()
def _score(ensemble: Ensemble, pictures: Sequence[HeldOut], members: Sequence[int]) -> float | None:
    """The headline score of some of the members, combined as in the ensemble; None where none of them counts."""
    if not counts(ensemble.combination, members):
        return None
    combination = copy.deepcopy(ensemble.combination).cpu().eval()  # as what is held out is
    threshold = settings_for(ensemble).threshold
    metrics = SegmentationMetrics(ensemble.classes, ensemble.task, ensemble.background, threshold)
    for picture in pictures:
        sums = Sums(combination)
        for member in members:
            sums.add(member, picture.members[member : member + 1], picture.image[None])
        labels = labels_at(sums.probabilities()[0].numpy(), ensemble.temperature, ensemble.task, threshold)
        metrics.update(picture.name, labels, picture.target.numpy())
    return headline(metrics.compute())[1]
