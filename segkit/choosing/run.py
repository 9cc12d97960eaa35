"""What is done to a model's masks, chosen on a split of a dataset that it wasn't trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from segkit.allocator import reused_memory
from segkit.artifact import AnyModel
from segkit.choosing.choice import Case, Choice, Trial, choose, passes
from segkit.columns import in_columns
from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.evaluation.intervals import units_of
from segkit.evaluation.scores import written
from segkit.evaluation.seen import check_unseen_pictures, kept_with
from segkit.memory import share_of_memory
from segkit.postprocessing.settings import CHOSEN_ON, EVERY
from segkit.postprocessing.targets import Spacing
from segkit.prediction.of_sample import check_fit, predict_sample, spacing_of
from segkit.prediction.prediction import Prediction
from segkit.prediction.predictor import Predictor
from segkit.prediction.settings import unlike_kept
from segkit.progress import Progress
from segkit.trusting.verdict import KEY

LIMIT = share_of_memory(2 << 30)


@dataclass(frozen=True)
class Postprocessed:
    """A model with what is done to its masks.

    Attributes:
        model: the same model; the steps that are kept are in ``about["predict"]["postprocess"]``.
        choice: they, and what was tried.
        notes: what is to be said.
    """

    model: AnyModel
    choice: Choice
    notes: tuple[str, ...]

    def table(self) -> str:
        """What was tried, and the Dice before and after, as text."""
        rows = [("step", "class", "best", "of", "mean Dice", "", ""), *map(_row, self.choice.trials)]
        kept = self.choice.settings.described() or "nothing helps: masks are left as they are"
        means = ", ".join(
            f"{name} {written(before)} → {written(self.choice.after[name])}"
            for name, before in self.choice.before.items()
        )
        said = f"Dice, mean over the {self.choice.cases} cases that it was chosen on: {means}"
        return "\n".join([*in_columns(rows, right=False), f"kept: {kept}", said])

    def figures(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        choice = self.choice
        return {
            "postprocess": choice.settings.kept(),
            "cases": choice.cases,
            "dice": {"before": choice.before, "after": choice.after},
            "tried": [
                {key: value for key, value in asdict(trial).items() if key != "name"} | {"class": trial.name}
                for trial in choice.trials
            ],
            "notes": list(self.notes),
        }


@reused_memory()
def fit_postprocessing(
    model: AnyModel,
    data: str | Path,
    split: str = "val",
    *,
    limit: int = LIMIT,
    progress: Progress | None = None,
    **how: Any,
) -> Postprocessed:
    """Choose what is done to a model's masks, and keep it with the model: smoothing, thresholds, parts, holes.

    Each step is tried by itself upon those before it, and kept only where the mean Dice over the cases rises and no
    class's falls, also on cases that its value wasn't chosen on; see :mod:`segkit.choosing.judging`. What is kept
    is from then on done by every prediction, and scored by ``segkit.evaluate``. What the model did before is replaced.

    Args:
        model: a single model or an ensemble; ``model.about`` is changed.
        data: the dataset's folder, of pictures or of volumes.
        split: its cases are not among those that the model was trained on; several are joined by ``+``.
        limit: bytes of predictions that are kept in memory. Cases beyond that are predicted anew for each step, about
            ten times; the result is the same.
        progress: called after each look at a case with the number done, the most there will be, and the case's name.
        **how: settings of the predictor: tile, overlap, tta, precision.

    Raises:
        UsageError: a split that the model was trained on.
        ModelError: the model is of other classes than the dataset.
        DataError: a case that can't be used.
    """
    folder = open_dataset(data)
    check_fit(model, folder)
    check_unseen_pictures(kept_with(model), folder, split)
    samples = folder.samples(*split.split("+"))
    predictor = Predictor(model, postprocess=None, **how)
    looks = _Looks(predictor, folder, samples, limit, progress)
    choice = choose(
        looks.cases,
        task=folder.task,
        classes=model.classes,
        background=model.background,
        threshold=predictor.threshold,
    )
    about = {key: value for key, value in model.about.items() if key != CHOSEN_ON}
    about["predict"] = {**about.get("predict", {}), "postprocess": choice.settings.kept()}
    if choice.settings.steps:
        about[CHOSEN_ON] = {"dataset": folder.name, "split": split, "pictures": len(samples)}
    notes = unlike_kept(model, how) if choice.settings.steps else []
    if KEY in about and about["predict"]["postprocess"] != model.about.get("predict", {}).get("postprocess"):
        notes.append("the model was taught to judge its masks as they were: teach it again by segkit trust")
    model.about = about
    return Postprocessed(model, choice, tuple(notes))


class _Looks:
    """Gives the cases of a split, as often as asked; predicts each once, or anew where memory doesn't hold it."""

    def __init__(
        self,
        predictor: Predictor,
        folder: DatasetFolder,
        samples: Sequence[Sample],
        limit: int,
        progress: Progress | None,
    ) -> None:
        self._predictor, self._folder, self._samples, self._room = predictor, folder, samples, limit
        self._progress, self._steps = progress, count(1)
        self._most = passes(folder.task, len(folder.classes)) * len(samples)
        self._groups, _ = units_of(folder, samples)
        self._held: dict[str, Case] = {}

    def cases(self) -> Iterator[Case]:
        """All cases, in the samples' order."""
        for sample, group in zip(self._samples, self._groups.tolist(), strict=True):
            case = self._held.get(sample.name)
            if case is None:
                case = self._predicted(sample, str(group))
                size = case.probabilities.nbytes + case.truth.nbytes
                if size <= self._room:
                    self._room -= size
                    self._held[sample.name] = case
            yield case
            if self._progress is not None:
                self._progress(next(self._steps), self._most, sample.name)

    def _predicted(self, sample: Sample, group: str) -> Case:
        spacing: Spacing | None
        prediction: Prediction
        if sample.volume:
            prediction = whole = self._predictor.predict_case(sample.image)
            spacing = whole.spacing if whole.volume.spaced else None
        else:
            prediction = predict_sample(self._predictor, self._folder, sample)
            spacing = spacing_of(self._predictor, sample)
        shape = prediction.labels.shape
        truth = self._folder.read_mask(sample, shape[-2:]).reshape(shape)  # of a volume it comes as one tall picture
        return Case(sample.name, np.asarray(prediction.probabilities), truth, spacing, group)


def _row(trial: Trial) -> tuple[str, str, str, str, str, str, str]:
    dice = f"{trial.mean_before:.4f} → {trial.mean_after:.4f}"
    of = f"{len(trial.tried)} tried" if len(trial.tried) > 1 else ""
    name = "every class" if trial.name == EVERY else trial.name
    return trial.step, name, trial.value, of, dice, "kept" if trial.kept else "no", trial.reason
