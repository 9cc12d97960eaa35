"""Files to labels: what the user named, opened, labelled by a saved classifier, and written."""

from collections.abc import Iterable
from pathlib import Path

from segkit.artifact import load
from segkit.classification.labels_file import write_labels
from segkit.classification.prediction import ImageLabel, LabelsImages, classify
from segkit.data.claims import LIMIT
from segkit.data.reader import PICTURES
from segkit.data.suffixes import VOLUMES
from segkit.errors import DataError, ModelError
from segkit.prediction.sources import Source, expand, named_paths
from segkit.prediction.writers import output_folder
from segkit.progress import Progress
from segkit.sections import Precision


def label_files(
    model: LabelsImages | str | Path,
    sources: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    precision: Precision = "auto",
    batch: int | None = None,
    limit: int = LIMIT,
    progress: Progress | None = None,
) -> tuple[list[ImageLabel], list[str]]:
    """Label many pictures and write ``predictions.csv`` and ``predictions.json`` into ``out``.

    Args:
        model: a classifier, or where one is saved.
        sources: pictures, folders and patterns, as :func:`segkit.prediction.sources.expand` takes them.
        out: the folder for the tables.
        precision, batch, limit, progress: as for :func:`segkit.classification.prediction.classify`.

    Returns:
        What is said of each picture, in the order of naming, errors in their places; and a line for each file that is
        no picture and was left out.

    Raises:
        DataError: there are no pictures.
        ModelError: there is no model, or it gives no labels.
        UsageError: an argument out of its range, or an ``out`` that can't be written into.
    """
    named = named_paths(sources)
    opened = load(model) if isinstance(model, str | Path) else model
    if not isinstance(opened, LabelsImages):
        raise ModelError(f"{model}: no classifier, which gives whole images labels")
    out = output_folder(out)
    planned = expand(named, out)
    images = [source for source in planned if source.skipped is None]
    if not images:
        raise DataError(f"{', '.join(map(str, named))}: no pictures there")
    readable = [source.path for source in images if _error(source) is None]
    said = iter(classify(opened, readable, precision=precision, batch=batch, limit=limit, progress=progress))
    found = []
    for source in images:
        error = _error(source)
        found.append(next(said) if error is None else ImageLabel(str(source.path), opened.classes, None, error))
    write_labels(found, out)
    return found, [f"{source.path}: {source.skipped}" for source in planned if source.skipped is not None]


def _error(source: Source) -> str | None:
    """Why a source can't be labelled; None where it can be tried."""
    if source.error is not None:
        return source.error
    if source.series is not None or source.suffix in VOLUMES:
        return f"{source.path}: a volume or DICOM file; classifiers take pictures ({', '.join(PICTURES)})"
    return None
