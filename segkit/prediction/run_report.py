"""What a run over many images leaves for people: measures of each in a table, small pictures, and one page."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from segkit.drawing.palette import default_palette
from segkit.errors import UsageError
from segkit.measuring.measures import measure
from segkit.measuring.preview import draw_preview
from segkit.measuring.run_page import PAGE, write_run_page
from segkit.measuring.table import CaseMeasures, figures, rows_of, write_table
from segkit.postprocessing.targets import slice_axis
from segkit.prediction.manifest import Entry
from segkit.prediction.prediction import Prediction
from segkit.prediction.writers import write_picture

if TYPE_CHECKING:
    from segkit.prediction.predictor import Predictor

BURNED_IN = "text, names among it, may be burned into the pixels of: "


def measures_of(prediction: Prediction) -> dict[str, dict[str, Any]]:
    """Figures of each class of a prediction, in physical units where its pixels have any."""
    volume = getattr(prediction, "volume", None)
    spacing = None if prediction.mpp is None else tuple(microns / 1000 for microns in prediction.mpp)
    labels, probabilities = np.asarray(prediction.labels), prediction.probabilities
    if volume is not None:
        spacing = volume.geometry.spacing if volume.spaced else None
        alone = None if volume.located else slice_axis(volume.geometry.shape)
        if alone is not None:  # a picture, an X-ray for example: nobody measured how thick it is
            labels = np.ascontiguousarray(np.squeeze(labels, alone - 3).swapaxes(-1, -2))
            probabilities = np.ascontiguousarray(np.squeeze(probabilities, alone - 3).swapaxes(-1, -2))
            if spacing is not None:
                spacing = tuple(step for axis, step in enumerate(spacing) if axis != alone)[::-1]
    return figures(
        measure(
            labels,
            probabilities,
            classes=prediction.classes,
            task=prediction.task,
            background=prediction.background,
            spacing=spacing,
            geometry=volume.geometry if volume is not None and volume.located else None,
        )
    )


def write_preview(path: Path, prediction: Prediction) -> None:
    """A small picture of what was found, as PNG."""
    volume = getattr(prediction, "volume", None)
    write_picture(path, prediction.overlay() if volume is not None else draw_preview(prediction))


def write_report(
    folder: Path, entries: Sequence[Entry], predictor: "Predictor", settings: dict[str, Any]
) -> list[Path]:
    """``measures.csv``, ``measures.json`` and ``index.html`` of a run; all of it from what its manifest keeps."""
    cases = [_case(entry, folder) for entry in entries if entry.status != "skipped"]
    paths = write_table(folder, rows_of(cases))
    model = predictor.model
    names = (model.classes[-1],) if model.task == "binary" else tuple(model.classes)
    palette = default_palette(model.task, model.maps, model.background)
    first = 1 if model.task == "binary" else 0
    burned = [entry.name for entry in entries if entry.burned_in]
    page = write_run_page(
        folder,
        f"Masks of {len(cases)} image{'s' * (len(cases) != 1)}",
        cases,
        model=str(getattr(model, "about", {}).get("trained_on", {}).get("recipe", "model")),
        digest=predictor.model_digest or "",
        settings=settings,
        colours={
            name: [int(value) for value in palette[first + k]]
            for k, name in enumerate(names)
            if model.task != "multiclass" or k != model.background
        },
        warnings=[BURNED_IN + ", ".join(burned)] if burned else [],
        left_out=[(entry.input, entry.error or "") for entry in entries if entry.status == "skipped"],
    )
    return [*paths, page]


def check_report_place(folder: Path) -> None:
    """Raise UsageError where :func:`write_report` would overwrite the page of something else."""
    if (folder / PAGE).is_file() and not _is_ours(folder / PAGE):
        raise UsageError(
            f"{folder}: its {PAGE} is something else's, which a report would overwrite; choose another folder"
        )


def remove_report(folder: Path) -> None:
    """Remove what :func:`write_report` left in a folder, and no page of something else."""
    page = folder / PAGE
    ours = [page] if page.is_file() and _is_ours(page) else []
    for path in (folder / "measures.csv", folder / "measures.json", *ours):
        path.unlink(missing_ok=True)


def _is_ours(page: Path) -> bool:
    """Whether it is a run's page, which names its table."""
    return b"measures.csv" in page.read_bytes()


def _case(entry: Entry, folder: Path) -> CaseMeasures:
    preview = next((name for name in entry.outputs if name.endswith("_preview.png")), None)
    return CaseMeasures(
        name=(PurePosixPath(entry.input).parent / entry.name).as_posix() if entry.name else entry.input,
        measures=entry.measures,
        trust=entry.trust,
        notes=tuple(entry.notes),
        error=entry.error,
        preview=None if preview is None else folder / preview,
    )
