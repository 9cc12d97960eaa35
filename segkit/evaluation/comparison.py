"""Which of two models is better on the same images, by how much, and whether chance could have done it."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segkit.allocator import reused_memory
from segkit.artifact import AnyModel, check_draws_masks
from segkit.data.folder import open_dataset
from segkit.errors import UsageError
from segkit.evaluation.comparison_page import comparison_page
from segkit.evaluation.pairing import paired
from segkit.evaluation.report import Report, evaluate, open_source
from segkit.evaluation.table import comparison_table
from segkit.files import atomic_path, write_whole
from segkit.prediction.of_sample import check_fit
from segkit.prediction.settings import Kept, checked_settings
from segkit.progress import Progress
from segkit.sections import Precision
from segkit.tta import TTA

Source = AnyModel | str | Path


@dataclass(frozen=True)
class Comparison:
    """The reports of several models on the same images, and each but the first against the first.

    Attributes:
        reports: of each model, by name, in the order given.
        pairs: what ``segkit.evaluation.pairing.paired`` gives, by the name of the one compared with the first.
    """

    reports: dict[str, Report]
    pairs: dict[str, dict[str, Any]]

    @property
    def first(self) -> str:
        """The name of the model that the others are compared with."""
        return next(iter(self.reports))

    @property
    def metrics(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        models = {name: {**report.metrics, "members": report.members} for name, report in self.reports.items()}
        return {"first": self.first, "pairs": self.pairs, "models": models}

    def table(self) -> str:
        """The differences as text."""
        return comparison_table({name: report.metrics for name, report in self.reports.items()}, self.pairs)

    def page(self) -> str:
        """The comparison as one HTML page with its figures inside; it loads nothing."""
        return comparison_page({name: report.metrics for name, report in self.reports.items()}, self.pairs)

    def save(self, folder: str | Path) -> Path:
        """Write the comparison into ``folder``, and each model's report into ``model_1``, ``model_2``, … below it.

        The comparison's own files are ``index.html``, ``comparison.json``, ``per_image.csv`` and ``table.txt``.
        """
        folder = Path(folder)
        for number, report in enumerate(self.reports.values(), start=1):
            report.save(folder / f"model_{number}")
        write_whole(folder / "comparison.json", json.dumps({"first": self.first, "pairs": self.pairs}, indent=2))
        write_whole(folder / "table.txt", self.table() + "\n")
        with atomic_path(folder / "per_image.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", *self.reports])
            pairs = list(self.pairs.values())
            for rows in zip(*(pair["images"] for pair in pairs), strict=True):
                writer.writerow([rows[0]["name"], rows[0]["first"], *(row["second"] for row in rows)])
        write_whole(folder / "index.html", self.page())
        return folder


@reused_memory()
def compare(
    models: Sequence[Source],
    data: str | Path,
    split: str = "test",
    *,
    tile: int | Kept | None = "kept",
    overlap: float | Kept = "kept",
    tta: TTA | Kept = "kept",
    threshold: float | Kept = "kept",
    precision: Precision | Kept = "kept",
    depth: bool = True,
    errors: str | Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Score several models on the same images, and hold each but the first against the first.

    Args:
        models: two or more of what ``evaluate`` takes: models, where they are saved, or folders of masks.
        data, split, tile, overlap, tta, threshold, precision, depth: as for ``evaluate``; masks beside a model are
            scored as they are.
        errors: folder for pictures of each image's errors, ``model_1/errors/NAME.png`` and so on.
        progress: called after each picture of each model with the number done, the number of all, and its name.

    Raises:
        UsageError: fewer than two models, or the same one twice; settings where all are masks.
        ModelError, DataError: as for ``evaluate``.
    """
    if len(models) < 2:
        raise UsageError(f"{len(models)} model{'s' * (len(models) != 1)} given; a comparison takes two or more")
    names = _names(models)
    # What can be refused is refused before hours of work.
    opened = [open_source(model) if isinstance(model, str | Path) else model for model in models]
    given = [each for each in opened if not isinstance(each, Path)]
    for each in given:
        check_draws_masks(each)
    folder = open_dataset(data)
    for each in given:
        check_fit(each, folder)
        checked_settings(each, tile=tile, overlap=overlap, tta=tta, precision=precision, postprocess="kept")
    how: dict[str, Any] = {
        "tile": tile,
        "overlap": overlap,
        "tta": tta,
        "threshold": threshold,
        "precision": precision,
    }
    model_there = not all(isinstance(model, Path) for model in opened)  # masks beside it have no settings
    reports: dict[str, Report] = {}
    for number, (name, model) in enumerate(zip(names, opened, strict=True), start=1):

        def tell(done: int, total: int, picture: str, before: int = number - 1) -> None:
            if progress is not None:
                progress(before * total + done, len(models) * total, picture)

        reports[name] = evaluate(
            model,
            data,
            split,
            **({} if isinstance(model, Path) and model_there else how),
            depth=depth,
            errors=Path(errors) / f"model_{number}" / "errors" if errors is not None else None,
            progress=tell,
        )
    first, *others = reports
    return Comparison(reports, {name: _pair(reports[first], reports[name]) for name in others})


def _pair(first: Report, second: Report) -> dict[str, Any]:
    metrics, (units, unit) = first.metrics, first.units
    if not np.array_equal(first.counts.sum(1), second.counts.sum(1)):
        raise UsageError(
            f"{metrics['model']} and {second.metrics['model']} are scored on different pixels, as at two resolutions "
            "(data.mpp): score each by itself"
        )
    found = paired(
        first.counts,
        second.counts,
        units,
        unit,
        classes=metrics["classes"],
        task=metrics["task"],
        background=metrics["background"],
    )
    names = [image["name"] for image in metrics["images"]]
    rows = [{"name": name, **row} for name, row in zip(names, found["images"], strict=True)]
    return {**found, "images": rows}


def _names(models: Sequence[Source]) -> list[str]:
    """What each is called: its path as it was given, or the recipe it was trained by; each its own."""
    names: list[str] = []
    for number, model in enumerate(models, start=1):
        if isinstance(model, str | Path):
            name = str(model)
            if name in names:
                raise UsageError(f"{name} is given twice; a model is compared with another one")
        else:
            name = model.about.get("trained_on", {}).get("recipe", "model")
        names.append(f"{name} {number}" if name in names else name)
    return names
