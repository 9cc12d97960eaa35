"""A dataset in another layout, written as one of segkit's."""

import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import get_ident
from uuid import uuid4

from segkit.data.description import describe
from segkit.errors import DataError, UsageError
from segkit.files import move
from segkit.importing.case_files import PARTS, copy, link, place
from segkit.importing.coco import read_coco
from segkit.importing.decathlon import read_decathlon
from segkit.importing.detect import kind_of
from segkit.importing.layout import KINDS, Case, Group, Kind, Layout, Put
from segkit.importing.nnunet import read_nnunet
from segkit.importing.report import ImportReport
from segkit.importing.splits import settled
from segkit.importing.voc import read_voc
from segkit.nearest import nearest
from segkit.yaml_text import yaml_of

FILE_NAME = re.compile(r"[^./\\\0][^/\\\0]*")
AT_A_TIME = 4  # cases; volumes take memory
PARTIAL = "leave these out with --partial (in Python partial=True)"


def import_dataset(
    source: str | Path,
    out: str | Path,
    kind: Kind | None = None,
    *,
    link_files: bool = False,
    multilabel: bool = False,
    partial: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Write a dataset of another layout as one of segkit's, and return what was taken and what was left out.

    The source is not touched. Files are copied byte for byte where they are as segkit reads them. The dataset is
    written under a hidden name beside its place and takes its own name when it is whole.

    Args:
        source: its folder; for COCO also one JSON.
        out: the dataset's folder, new or empty.
        kind: of the layout: ``"nnunet"``, ``"decathlon"``, ``"coco"`` or ``"voc"``; None: by what is there.
        link_files: symbolic links in the place of copies.
        multilabel: of COCO: a mask for each class, so that objects of several classes keep what they have in common.
        partial: leave out cases whose files are missing or can't be used, instead of stopping at the first.
        progress: called with the number of cases done and of all.

    Raises:
        DataError: the layout isn't known or can't be read, or a case can't be used.
        UsageError: several layouts are possible; or the folder has something in it, lies in the source, or can't be
            written.
    """
    source, out = Path(source), Path(out)
    _check_places(source, out)
    layout = _read(source, kind, multilabel)
    _check_names(layout, source)
    kept, lost = _complete(layout, partial)
    unknown = _unknown(layout, partial, source)
    final = out.resolve()
    hidden = final.with_name(f".{final.name}.{uuid4().hex}")
    try:
        for part in PARTS:
            (hidden / part).mkdir(parents=True)
        _describe(layout, hidden, source)
        kept, said, refused = _write(kept, hidden, source, link if link_files else copy, partial, progress)
        splits, notes = settled(layout.splits, {case.name for case in kept})
        _describe(replace(layout, splits=splits), hidden, source)
        if final.exists():
            final.rmdir()  # empty; a rename over it works on some systems only
        move(hidden, final)
    except OSError as error:
        raise UsageError(f"{out}: can't be written ({error.strerror or error}); nothing was left there") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return ImportReport(
        kind=layout.kind,
        source=source,
        out=out,
        name=layout.name,
        task=layout.task,
        classes=layout.classes,
        cases=len(kept),
        splits={split: len(names) for split, names in splits.items()},
        linked=link_files,
        notes=(*layout.notes, *notes),
        warnings=tuple(said),
        left_out=(*layout.left_out, *lost, *unknown, *refused),
    )


def _check_places(source: Path, out: Path) -> None:
    if not source.exists():
        raise DataError(f"{source}: no such folder")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out}: is there already; a dataset is imported into a new or empty folder")
    if out.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"{out}: can't lie in the source, nor around it")


def _read(source: Path, kind: Kind | None, multilabel: bool) -> Layout:
    """What is in the source."""
    if source.is_file() and source.suffix.lower() != ".json":
        raise DataError(f"{source}: a file; name the dataset's folder (unpacked), or a JSON of COCO's")
    if kind is not None and kind not in KINDS:
        raise UsageError(f"no layout {kind!r}{nearest(kind, KINDS)}")
    chosen = kind or ("coco" if source.is_file() else kind_of(source))
    if source.is_file() and chosen != "coco":
        raise UsageError(f"{source}: a file; of {chosen} the folder is named")
    if multilabel and chosen != "coco":
        raise UsageError(f"multilabel is for coco; in {chosen} the files say what overlaps")
    if chosen == "coco":
        return read_coco(source, multilabel=multilabel)
    return {"nnunet": read_nnunet, "decathlon": read_decathlon, "voc": read_voc}[chosen](source)


def _check_names(layout: Layout, source: Path) -> None:
    """Refuse cases of the same name, and names of which no file can be made."""
    seen: dict[str, Case] = {}
    for case in layout.cases:
        first = seen.setdefault(case.name, case)
        if first is not case:
            raise DataError(f"{case.image[0]}: {first.image[0]} has the same name, {case.name!r}; rename one of them")
        if not FILE_NAME.fullmatch(case.name):
            raise DataError(f"{case.image[0]}: {case.name!r} can't be the name of a case's files; rename it")
    for name in layout.classes if layout.task == "multilabel" else ():
        if not FILE_NAME.fullmatch(name):
            raise DataError(f"{source}: class {name!r} can't be the name of a file, as masks of several labels are")


def _complete(layout: Layout, partial: bool) -> tuple[list[Case], list[Group]]:
    """The cases whose files are all there, and the others, which are refused unless they may be left out."""
    missing = {
        case.name: [file for file in (*case.image, *case.mask.files) if not file.is_file()] for case in layout.cases
    }
    lost = [name for name, files in missing.items() if files]
    if lost and not partial:
        many = f"{len(lost):,} of {len(layout.cases):,} cases lack files"
        raise DataError(f"{missing[lost[0]][0]}: no such file; {many}: get them, or {PARTIAL}")
    groups = [Group("cases with files that aren't there", tuple(lost))] if lost else []
    return [case for case in layout.cases if not missing[case.name]], groups


def _unknown(layout: Layout, partial: bool, source: Path) -> list[Group]:
    """Names in splits of which there is no case, which are refused unless they may be left out."""
    names = {case.name for case in layout.cases}
    found = {split: [name for name in listed if name not in names] for split, listed in layout.splits.items()}
    for split, unknown in found.items():
        if unknown and not partial:
            more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
            raise DataError(
                f"{source}: split {split!r} lists {unknown[0]!r}{more}, of which there is no case; get them, "
                f"or {PARTIAL}"
            )
    lost = tuple(name for unknown in found.values() for name in unknown)
    return [Group("names in splits that aren't there", lost)] if lost else []


def _write(
    cases: Sequence[Case],
    folder: Path,
    source: Path,
    put: Put,
    partial: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Case], list[Group], list[Group]]:
    """Write the cases; return those that could be, what is to be said of them, and what is wrong with the others."""

    staging = folder / ".staging"  # made and removed once for each thread: for each case takes as long as the rest

    def attempt(case: Case) -> tuple[list[tuple[str, str]], DataError | None]:
        try:
            return place(case, folder, staging / str(get_ident()), put), None
        except DataError as error:
            return [], error

    kept: list[Case] = []
    said: dict[str, list[str]] = defaultdict(list)
    refused: list[str] = []
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            done = zip(cases, pool.map(attempt, cases), strict=True)
            for number, (case, (remarks, error)) in enumerate(done, start=1):
                if error is None:
                    kept.append(case)
                elif partial:
                    refused.append(str(error))
                else:
                    raise error
                for what, detail in remarks:
                    said[what].append(detail)
                if progress is not None:
                    progress(number, len(cases))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    shutil.rmtree(staging, ignore_errors=True)
    if not kept:
        raise DataError(refused[0] if refused else f"{source}: there is no case with a mask")
    warnings = [Group(what, tuple(details)) for what, details in said.items()]
    return kept, warnings, [Group("cases that can't be used", tuple(refused))] if refused else []


def _describe(layout: Layout, folder: Path, source: Path) -> None:
    """Write ``dataset.yaml``; raise DataError where a dataset can't be described so."""
    palette = None if layout.palette is None else {name: list(colour) for name, colour in layout.palette.items()}
    values = {
        "name": layout.name,
        "task": layout.task,
        "classes": list(layout.classes),
        "background": layout.background,
        "ignore_index": layout.ignore_index,
        "palette": palette,
        "splits": {split: list(names) for split, names in layout.splits.items()} or None,
    }
    kept = {key: value for key, value in values.items() if value is not None}
    path = folder / "dataset.yaml"
    text = yaml_of(kept, allow_unicode=True, default_flow_style=None, width=110)
    path.write_text(text, encoding="utf-8")
    for fault in describe(path)[1]:
        raise DataError(f"{source}: {fault}")
