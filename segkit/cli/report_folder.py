"""The folder that a command writes figures to: made at once, and never in the place of other files."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from segkit.errors import UsageError


class Report(NamedTuple):
    """What one command leaves in its folder.

    Attributes:
        name: what to call such a folder in an example.
        own: files by which a folder is known to hold such a report already, so that its files may be overwritten.
        others: files that it has in common with what other commands write.
    """

    name: str
    own: tuple[str, ...]
    others: tuple[str, ...] = ("table.txt",)


EVALUATION = Report("report", ("metrics.json", "comparison.json"), ("index.html", "table.txt"))
OF_LABELS = Report("report", ("metrics.json",))
INSPECTION = Report("inside", ("inspection.json",))
ROBUSTNESS = Report("stress", ("robustness.json",))


@contextmanager
def report_folder(out: Path | None, data: Path | None, report: Report, *, labels: bool = False) -> Iterator[None]:
    """Make the folder of a report, if there is to be one; a new one goes again where the block fails.

    Args:
        out: the folder; None: there is no report.
        data: the dataset that it is about.
        report: what is written there.
        labels: the dataset is of labelled images, where every folder may be a class.

    Raises:
        UsageError: files can't be written there, or would take the place of others, or lie among a dataset's.
    """
    from segkit.artifact import DESCRIPTION
    from segkit.prediction.writers import output_folder

    if out is None:
        yield
        return
    foreign = [] if any((out / name).is_file() for name in report.own) else list(report.others)
    taken = next((name for name in foreign if (out / name).is_file()), None)
    for there, what in (
        ((out / "recipe.yaml").is_file(), "a run, whose files a report would overwrite"),
        ((out / DESCRIPTION).is_file(), "a model, whose files a report would overwrite"),
        (taken is not None, f"its {taken} is something else's, which a report would overwrite"),
        (data is not None and _among_pictures(out, data), "the dataset's own folder, which is no place for a report"),
    ):
        if there:
            raise UsageError(f"{out}: {what}; choose another folder (-o {report.name})")
    if labels and data is not None and data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        where = "lies in the dataset, whose folders are classes"
        raise UsageError(f"{out}: {where}; choose another folder (-o {report.name})")
    new = not out.exists()
    output_folder(out)
    try:
        yield
    except BaseException:
        if new:
            shutil.rmtree(out, ignore_errors=True)
        raise


def _among_pictures(out: Path, data: Path) -> bool:
    """Whether a folder is a dataset's, or that of its pictures or masks, or in one of these."""
    out, data = out.resolve(), data.resolve()
    return out == data or any(out.is_relative_to((data / name).resolve()) for name in ("images", "masks", "depth"))
