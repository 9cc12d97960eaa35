"""How good a model, each member of an ensemble, or a folder of masks is on a split of a dataset."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.allocator import reused_memory
from segkit.artifact import DESCRIPTION, AnyModel, check_draws_masks, load_segmentation
from segkit.data.coding import MIXED
from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.data.masks import LOSSLESS
from segkit.data.suffixes import VOLUMES, suffix_of
from segkit.drawing.error_picture import draw_errors
from segkit.drawing.palette import default_palette
from segkit.ensemble import Ensemble
from segkit.errors import UsageError
from segkit.evaluation.calibration import Calibration
from segkit.evaluation.case_tables import case_cells
from segkit.evaluation.chosen import ChosenThreshold, check_choice, choose_threshold
from segkit.evaluation.intervals import score_intervals, units_of
from segkit.evaluation.lesions import LesionCounts, LesionRule
from segkit.evaluation.looks import Tally, looks_of_masks, looks_of_model
from segkit.evaluation.metrics import SegmentationMetrics, headline
from segkit.evaluation.report_page import report_page
from segkit.evaluation.scores import image_score_name, image_scores
from segkit.evaluation.seen import seen_before, shared_groups
from segkit.evaluation.selective import Selective
from segkit.evaluation.surface import SurfaceDistances
from segkit.evaluation.table import score_table
from segkit.evaluation.worst import Example, Worst
from segkit.files import atomic_path, write_whole
from segkit.labels import threshold_at
from segkit.prediction.of_sample import check_fit
from segkit.prediction.predictor import Predictor
from segkit.prediction.settings import Kept, is_kept, settings_for
from segkit.prediction.writers import write_picture
from segkit.progress import Progress
from segkit.sections import Precision
from segkit.tta import TTA


@dataclass(frozen=True)
class Report:
    """Scores on one split.

    Attributes:
        metrics: what ``SegmentationMetrics.compute`` gives, with ``data``, ``split``, ``region`` and ``settings``, and
            ``intervals``, ``calibration`` and ``selective`` (None for masks), ``surface``, ``lesions`` and
            ``chosen_threshold`` (None unless asked for), ``worst`` and ``notes``; docs/metrics.md defines them.
        members: the same for each member of an ensemble, by name, without the last three.
        worst: the images with the lowest scores, with their pictures.
        counts: TP, FP, FN, TN of every class in every image, int64 [images, 4, classes].
        units: which images belong together, int64 [images], and what such a unit is.
    """

    metrics: dict[str, Any]
    members: dict[str, dict[str, Any]] = field(default_factory=dict)
    worst: tuple[Example, ...] = field(default=(), repr=False)
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 4, 0), np.int64), repr=False)
    units: tuple[NDArray[np.int64], str] = field(default_factory=lambda: (np.zeros(0, np.int64), "image"), repr=False)

    def headline(self) -> dict[str, Any]:
        """The one score to compare by, with the split and the number of images it is of."""
        name, value = headline(self.metrics)
        on = f"{self.metrics['split']} of {self.metrics['data']}"
        return {name: round(value, 4), "split": on, "images": len(self.metrics["images"])}

    def table(self) -> str:
        """The scores as text, each under a name that says what it is."""
        return score_table(self.metrics, self.members)

    def page(self) -> str:
        """The report as one HTML page with its figures and pictures inside; it loads nothing."""
        return report_page(self.metrics, self.members, self.worst)

    def save(self, folder: str | Path) -> Path:
        """Write ``index.html``, ``metrics.json``, ``per_image.csv`` and ``table.txt`` into ``folder`` and return it."""
        folder = Path(folder)
        write_whole(folder / "metrics.json", json.dumps({**self.metrics, "members": self.members}, indent=2))
        write_whole(folder / "table.txt", self.table() + "\n")
        rows = list(self._rows())
        with atomic_path(folder / "per_image.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        write_whole(folder / "index.html", self.page())
        return folder

    def _rows(self) -> Iterator[dict[str, Any]]:
        """One row a model and image; an undefined score is an empty cell."""
        for name, metrics in {"": self.metrics, **self.members}.items():
            for i, image in enumerate(metrics["images"]):
                scores = {f"{kind} {label}": value for kind in ("dice", "iou") for label, value in image[kind].items()}
                yield {
                    "member": name,
                    "image": image["name"],
                    "pixels": image["pixels"],
                    **scores,
                    **case_cells(metrics, i),
                }


@reused_memory()
def evaluate(
    model: AnyModel | str | Path,
    data: str | Path,
    split: str = "test",
    *,
    tile: int | Kept | None = "kept",
    overlap: float | Kept = "kept",
    tta: TTA | Kept = "kept",
    threshold: float | Kept = "kept",
    precision: Precision | Kept = "kept",
    threshold_from: str | None = None,
    surface: float | None = None,
    lesions: bool | LesionRule = False,
    depth: bool = True,
    errors: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Score a model, and each member of an ensemble in the same pass, on a split of a dataset.

    Args:
        model: a model, where one is saved, or a folder of masks named like the dataset's pictures (``NAME.png`` or
            ``NAME_mask.png``), which are then scored instead.
        data: the dataset's folder.
        split: which pictures; several splits are joined by ``+``.
        tile, overlap, tta, precision: as for ``Predictor``, by default those kept with the model; masks have none.
        threshold: probability from which a pixel is foreground (binary and multilabel), by default the model's too.
            What is done to the model's masks after that is done here, too, but for its thresholds where this is given;
            members of an ensemble are scored without.
        threshold_from: another split, on which the threshold with the highest pooled Dice is chosen first (one a class
            for multilabel); the scores at it are given beside those at ``threshold``.
        surface: measure surface distances too, with this tolerance in mm (pixels where no spacing is known); slow.
        lesions: count found lesions too, by ``LesionRule()`` or the one given.
        depth: off: leave the dataset's depth out, to see how a model that takes it does without.
        errors: folder for a picture of each image's errors, ``NAME.png``, written while the images are scored.
        progress: called after each picture with the number done, the number of all, and the picture's name.

    Raises:
        ModelError: the model draws no masks, is of other classes than the dataset, or gives values that are not finite.
        DataError: a picture or mask that can't be used.
        UsageError: a setting is given for masks; ``threshold_from`` is the split that is scored, shares pictures with
            it, or has no meaning, as of a model that smooths, or keeps thresholds of its classes where none is given;
            ``surface`` is no distance, or MONAI isn't installed.
    """
    check_draws_masks(model)
    source = open_source(model) if isinstance(model, str | Path) else model
    folder = open_dataset(data)
    if not depth:
        folder = folder.without_depth()
    samples = folder.samples(*split.split("+"))
    asked, threshold = threshold, settings_for(source, threshold=threshold).threshold
    before = check_choice(folder, samples, split, threshold_from, is_model=not isinstance(source, Path))

    steps = count(1)

    def tell(name: str) -> None:
        if progress is not None:
            progress(next(steps), len(before) + len(samples), name)

    rule = (LesionRule() if lesions else None) if isinstance(lesions, bool) else lesions
    settings: dict[str, Any] = {}
    members: tuple[str, ...] = ()
    chosen: ChosenThreshold | None = None
    notes = [note for note in folder.notes if note == MIXED]  # of these pictures less is scored than seems to be
    if isinstance(source, Path):
        given = {"tile": tile, "overlap": overlap, "tta": tta, "threshold": asked, "precision": precision}
        for setting, value in given.items():
            if not is_kept(value):
                raise UsageError(f"{setting}={value}: {source} holds masks, which are scored as they are; leave it out")
        name = f"masks in {source}"
        metrics = _metrics(folder, threshold)
        tallies = [Tally(metrics, threshold=threshold, **_of_cases(metrics, surface, rule))]
        looks = looks_of_masks(source, folder, samples)
    else:
        name = source.about.get("trained_on", {}).get("recipe", "model")
        check_fit(source, folder)
        members = source.names if isinstance(source, Ensemble) else ()
        predictor = Predictor(source, tile=tile, overlap=overlap, tta=tta, precision=precision)
        settings = {key: getattr(predictor, key) for key in ("tile", "overlap", "tta", "precision")}
        labelling = predictor.labelling(asked)
        if labelling.steps is not None:
            settings["postprocess"] = labelling.steps.described()
        notes += [
            *_without_depth(source, samples, left_out=not depth),
            *seen_before(source, folder, samples, split, threshold_from),
        ]
        if threshold_from is not None and labelling.steps is not None and labelling.steps.smoothing:
            raise UsageError(
                "the model smooths probabilities before a threshold (predict.postprocess), which a chosen one wouldn't "
                "be for: leave --threshold-from out, and choose it by segkit postprocess"
            )
        if threshold_from is not None and labelling.steps is not None and labelling.steps.thresholds:
            raise UsageError(
                "the model keeps thresholds of its classes (predict.postprocess), so there is no one to hold a chosen "
                f"one against: say which (threshold, --threshold {threshold:g}), or leave --threshold-from out"
            )
        temperature = predictor.temperature if is_kept(asked) else 1.0
        of_members = threshold_at(threshold, 1 / temperature)  # theirs are before the whole's
        tallies = [
            Tally(
                metrics,
                part,
                threshold if part == 0 else of_members,
                Calibration(source.task, source.maps),
                Selective(source.task, source.maps),
                **_of_cases(metrics, surface, rule),
                steps=labelling.steps if part == 0 else None,
            )
            for part, metrics in enumerate(_metrics(folder, each) for each in (threshold, *[of_members] * len(members)))
        ]
        if threshold_from is not None:
            chosen_on, scored_on = ({sample.name for sample in each} for each in (before, samples))
            notes += _same_groups(shared_groups(folder, chosen_on, scored_on), threshold_from, split)
            chosen = choose_threshold(source, predictor, folder, before, threshold_from, threshold, tell)
            at_chosen = labelling.at(threshold)
            tallies.append(Tally(_metrics(folder, threshold), 0, chosen.by_map, steps=at_chosen.steps))
        looks = looks_of_model(source, predictor, folder, samples, tallies, chosen.scored if chosen else None)

    counted = tallies[0].metrics
    worst = Worst(default_palette(folder.task, len(counted.classes), folder.background), counted.background)
    of_depth: Counter[str] = Counter()
    for look in looks:
        of_depth.update(look.notes)
        first, *_ = [
            tally.metrics.update(look.sample.name, labels, look.target)
            for tally, labels in zip(tallies, look.labels, strict=True)
        ]
        for tally, labels in zip(tallies, look.labels, strict=True):
            for cases in (tally.surface, tally.lesions):
                if cases is not None:
                    cases.update(look.sample.name, look.whole(labels), look.whole(look.target), look.spacing)
        worst.offer(float(image_scores(first[None], counted.task, counted.kept)[0]), look)
        if errors is not None:
            picture = draw_errors(look.cut(look.labels[0]), look.cut(look.target), counted.background)
            write_picture(Path(errors) / f"{look.sample.name}.png", picture)
        tell(look.sample.name)

    notes += [f"{note} ({number} of the {len(samples)} images)" for note, number in of_depth.items()]
    units, unit = units_of(folder, samples)
    context = {
        "model": name,
        "data": folder.name,
        "split": split,
        "region": "inside the region of interest" if any(sample.roi for sample in samples) else "whole images",
        "settings": settings,
    }
    whole, *parts = ({**context, **_figures(tally, units, unit)} for tally in tallies[: 1 + len(members)])
    whole |= {
        "chosen_threshold": chosen.figures(counted.classes, _figures(tallies[-1], units, unit)) if chosen else None,
        "worst": {
            "by": image_score_name(counted.task, counted.classes, counted.background),
            "images": [{"name": example.name, "score": example.score} for example in worst.examples],
        },
        "notes": notes,
    }
    return Report(whole, dict(zip(members, parts, strict=True)), tuple(worst.examples), counted.counts, (units, unit))


def open_source(path: str | Path) -> AnyModel | Path:
    """The model saved at ``path``, or ``path`` itself where it is a folder of masks.

    Raises:
        ModelError: neither; of a run's folder it says where in it the model is.
    """
    path = Path(path)
    if not path.is_dir() or (path / DESCRIPTION).is_file() or (path / "model" / DESCRIPTION).is_file():
        return load_segmentation(path)
    holds_masks = any(entry.is_dir() or suffix_of(entry) in (*LOSSLESS, *VOLUMES) for entry in path.iterdir())
    return path if holds_masks else load_segmentation(path)


def _metrics(folder: DatasetFolder, threshold: float) -> SegmentationMetrics:
    return SegmentationMetrics(folder.classes, folder.task, folder.background, threshold)


def _of_cases(metrics: SegmentationMetrics, surface: float | None, rule: LesionRule | None) -> dict[str, Any]:
    """What a tally measures of each case, where it is asked for."""
    what = metrics.classes, metrics.task, metrics.kept
    return {
        "surface": SurfaceDistances(*what, surface) if surface is not None else None,
        "lesions": LesionCounts(*what, rule) if rule is not None else None,
    }


def _figures(tally: Tally, units: NDArray[np.int64], unit: str) -> dict[str, Any]:
    """Scores with their intervals, and the calibration where there are probabilities."""
    metrics, calibration = tally.metrics, tally.calibration
    intervals = score_intervals(
        metrics.counts, units, unit, classes=metrics.classes, task=metrics.task, kept=metrics.kept
    )
    names = metrics.classes if metrics.task == "multilabel" else ()
    return {
        **metrics.compute(),
        "intervals": intervals,
        "calibration": calibration.compute(names) if calibration is not None else None,
        "selective": tally.selective.compute() if tally.selective is not None else None,
        "surface": tally.surface.compute(units, unit) if tally.surface is not None else None,
        "lesions": tally.lesions.compute(units, unit) if tally.lesions is not None else None,
    }


def _without_depth(model: AnyModel, samples: Sequence[Sample], *, left_out: bool) -> list[str]:
    """What is scored otherwise than the model was made for: pictures without the depth that it takes."""
    bare = sum(sample.depth is None for sample in samples)
    if not model.reader.depth_channels or not bare:
        return []
    if left_out:
        return ["the model takes depth, which is left out"]
    return [f"the model takes depth; {bare} of the {len(samples)} images have none and are predicted without"]


def _same_groups(shared: list[str], chosen_on: str, split: str) -> list[str]:
    """That the threshold knows the patients, or whatever groups are, that it is judged on."""
    if not shared:
        return []
    count = f"{len(shared)} group{'s' * (len(shared) > 1)}"
    return [
        f"{chosen_on!r} and {split!r} share {count}, for example {shared[0]}: the threshold is not judged on new ones"
    ]
