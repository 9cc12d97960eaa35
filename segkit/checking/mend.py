"""A copy of a dataset without the faults that can be mended, and a log of what was changed."""

import itertools
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import tifffile
from numpy.typing import NDArray

from segkit.checking.examine import Facts
from segkit.checking.mended_mask import mended_mask
from segkit.checking.repairs import Repair
from segkit.checking.report import CheckReport, Evidence
from segkit.checking.survey import Survey
from segkit.data.depth import DEPTHS, stored_values
from segkit.data.description import ABOUT_DEPTH
from segkit.data.folder import Sample
from segkit.data.mask_on_picture import fit
from segkit.data.masks import Values, read_values
from segkit.data.png import png_bytes
from segkit.data.reader import Pixels, read_pixels
from segkit.data.splits import SHARES, draw_splits, each_once, hashed_groups
from segkit.data.turned import turned_to_fit
from segkit.errors import DataError, UsageError
from segkit.files import atomic_path, move, write_whole
from segkit.yaml_text import yaml_of

LOG = "mended.json"


def mend(
    report: CheckReport,
    out: str | Path,
    repairs: Sequence[Repair],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Repair]:
    """Write a copy of a checked dataset with some repairs made, and return what was changed.

    That is more than was asked where a mask turned out not to be mended: its picture is left out.

    The original is not touched. The copy is written under a hidden name beside its place and takes its own name when
    it is whole, so that what goes wrong leaves nothing behind; a killed process leaves the hidden folder.

    Args:
        report: of the dataset.
        out: the copy's folder, new or empty.
        repairs: some of those that ``plan_repairs`` gives.
        progress: called with the number of steps done and of all: each picture mended, each file copied.

    Raises:
        DataError: the classes aren't known, so that no mask can be mended; something is wrong in ``dataset.yaml``,
            and to leave it out isn't among the repairs.
        UsageError: the folder has something in it, lies in the dataset, or can't be written.
    """
    out, data = Path(out).resolve(), report.evidence.seen.path
    check_mendable(report)
    wrong = [place.detail for found in report.findings if found.kind == "description" for place in found.places]
    if wrong and not any(repair.kind == "description" for repair in repairs):
        raise DataError(f"{data / 'dataset.yaml'}: {wrong[0]}; correct it first (a copy is without it, with --yes)")
    check_place(out, data)
    partial = out.with_name(f".{out.name}.{uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        changes = _write(report, partial, repairs, progress)
        if out.exists():
            out.rmdir()  # empty; a rename over it works on some systems only
        move(partial, out)
    except OSError as error:
        why = error.strerror or error
        if error.filename2 is None and Path(error.filename or out).is_relative_to(data):
            raise DataError(f"{error.filename}: can't be read ({why}); nothing was left at {out}") from error
        raise UsageError(f"{out}: can't be written ({why}); nothing was left there") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return changes


def check_mendable(report: CheckReport) -> None:
    """Raise DataError or UsageError where no repair at all is possible, so that none is asked for."""
    data = report.evidence.seen.path
    if report.evidence.coding is None:
        raise DataError(f"{data}: what the masks' values mean isn't known; mend dataset.yaml first")
    volumes = [sample.image.name for sample in report.evidence.seen.samples.values() if sample.volume]
    if volumes:
        more = f" and {len(volumes) - 1} more" if len(volumes) > 1 else ""
        raise UsageError(
            f"{data}: has volumes ({volumes[0]}{more}), and pictures alone are mended; correct what is listed by hand"
        )


def check_place(out: Path, data: Path) -> None:
    """Raise UsageError where no copy of a dataset can go."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out}: is there already; a copy needs a new or empty folder")
    if out.resolve() == Path.cwd():
        raise UsageError(f"{out}: is the folder that you are in; name another, which may be new")
    if out.resolve().is_relative_to(data.resolve()) or data.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"{out}: a copy can't lie in its dataset, nor around it")


def _write(
    report: CheckReport, folder: Path, repairs: Sequence[Repair], progress: Callable[[int, int], None] | None
) -> list[Repair]:
    evidence = report.evidence
    seen = evidence.seen
    asked: dict[str, set[str]] = defaultdict(set)
    for repair in repairs:
        for name in repair.names:
            asked[name].add(repair.kind)

    replaced: set[Path] = {seen.path / "dataset.yaml"}
    files = sorted(file for file in _files_in(seen.path, {seen.path.resolve()}) if file.is_file())
    steps = itertools.count(1)

    def step() -> None:
        if progress is not None:
            progress(next(steps), len(evidence.facts) + len(files))

    coloured: list[str] = []
    lying: set[str] = set()
    for one in evidence.facts:
        kinds = asked[one.name]
        if seen.description.palette:  # which the copy doesn't have
            kinds.add("ids")
        mended = set() if "omit" in kinds else _mend_picture(evidence, one, kinds, folder)
        if mended is None:
            coloured.append(one.name)
        elif "upright" in kinds - {"omit"} and seen.samples[one.name].image not in mended:
            lying.add(one.name)
        replaced |= set(_files_of(evidence, one)) if mended is None or "omit" in kinds else mended
        replaced |= set(_depth_left_out(seen, one.name, kinds))
        step()
    changes = [_without(repair, lying) if repair.kind == "upright" else repair for repair in repairs]
    if coloured:
        what = "pictures are left out whose masks have colours that are not in the palette"
        changes.append(Repair("omit", what, tuple(coloured)))
    splits = mended_splits(evidence, changes)
    empty = {split for split, stems in splits.items() if not stems}
    changes = [_without(repair, empty) if repair.kind == "draw" else repair for repair in changes]
    changes = [repair for repair in changes if repair.names]
    for file in files:
        target = folder / file.relative_to(seen.path)
        if file not in replaced and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
        step()
    _write_description(evidence, folder, splits)
    log = [{"kind": repair.kind, "what": repair.what, "names": repair.names} for repair in changes]
    write_whole(folder / LOG, json.dumps({"changes": log}, indent=2, ensure_ascii=False) + "\n")
    return changes


def _files_in(folder: Path, above: set[Path]) -> Iterator[Path]:
    """What isn't hidden in a folder and in those in it, links followed but for those to a folder that they are in."""
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield entry
        elif (real := entry.resolve()) not in above:
            yield from _files_in(entry, above | {real})


def _without(repair: Repair, names: set[str]) -> Repair:
    return replace(repair, names=tuple(name for name in repair.names if name not in names))


def _files_of(evidence: Evidence, one: Facts) -> list[Path]:
    sample = evidence.seen.samples[one.name]
    files = [file for file in (sample.image, sample.depth, sample.roi) if file is not None]
    lossy = evidence.seen.lossy.get(one.name)
    if lossy is not None:
        files.append(lossy)
    if sample.mask is not None:
        files += sorted(sample.mask.iterdir()) if sample.mask.is_dir() else [sample.mask]
    return files


def _depth_left_out(seen: Survey, name: str, kinds: set[str]) -> list[Path]:
    """Depth files of a picture that the copy doesn't have."""
    own = seen.samples[name].depth
    if own is None or not kinds & {"no_depth", "one_depth", "omit"}:
        return []
    files = [file for file in own.parent.iterdir() if file.stem == own.stem and file.suffix.lower() in DEPTHS]
    return [file for file in files if "omit" in kinds or ("no_depth" if file == own else "one_depth") in kinds]


def _mend_picture(evidence: Evidence, one: Facts, kinds: set[str], folder: Path) -> set[Path] | None:
    """Write what of a picture's files changes; return the originals of those, None where its mask stays in colour."""
    seen = evidence.seen
    sample = seen.samples[one.name]
    if one.picture is None:
        return set()
    replaced: set[Path] = set()

    def write(original: Path, pixels: Pixels | Values) -> None:
        target = (folder / original.relative_to(seen.path)).with_suffix(".png")
        _write_png(target, pixels)
        replaced.add(original)

    for mask in one.masks:
        if kinds & {"ids", "upright", "nearest", "ignore", "foreground", "move", "resize"} or _turns(kinds):
            ids = mended_mask(evidence, sample, mask.file, kinds, one.picture.size)
            if ids is None and seen.description.palette:
                return None
            if ids is not None:
                write(mask.file, ids)
    if "upright" in kinds and all(mask.file in replaced for mask in one.masks):  # else its mask would lie as before
        write(sample.image, read_pixels(sample.image))
        if sample.roi is not None:
            with suppress(DataError):  # of another size, which the copy's check says again
                _write_upright(sample.roi, sample, one.picture.size, write)
        if sample.depth is not None and "no_depth" not in kinds and seen.description.depth_to_colour is None:
            turned = _upright_depth(sample.depth, sample, one.picture.size)
            if turned is not None:
                _write_depth(folder / sample.depth.relative_to(seen.path), turned)
                replaced.add(sample.depth)
    return replaced


def _turns(kinds: set[str]) -> bool:
    return any(kind.startswith("turn ") for kind in kinds)


def _write_upright(file: Path, sample: Sample, size: tuple[int, int], write: Callable[[Path, Values], None]) -> None:
    """Turn a map that lies as its picture's stored pixels do."""
    values = read_values(file)
    if values.shape != size:
        write(file, fit(values, size, file, sample.image))


def _upright_depth(file: Path, sample: Sample, size: tuple[int, int]) -> NDArray[Any] | None:
    """Values [H, W, C] of depth that lies as its picture's stored pixels do, turned; None where it doesn't lie so."""
    planes = turned_to_fit(stored_values(file).transpose(2, 0, 1), size, sample.image)
    return None if planes is None else np.ascontiguousarray(planes.transpose(1, 2, 0))


def _write_depth(path: Path, values: NDArray[Any]) -> None:
    """[H, W, C] as the kind of file that holds its type: an array where it was one, else PNG, or TIFF for floats."""
    plain = values[..., 0] if values.shape[2] == 1 else values
    if path.suffix.lower() == ".npy":
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, plain, allow_pickle=False)
    elif values.dtype.kind == "u" and values.shape[2] in (1, 3):
        _write_png(path.with_suffix(".png"), plain)
    else:
        layout = "contig" if plain.ndim == 3 else None
        with atomic_path(path.with_suffix(".tif")) as temporary:
            tifffile.imwrite(temporary, plain, photometric="minisblack", planarconfig=layout)


def _write_png(path: Path, pixels: Pixels | Values) -> None:
    """[H, W] or RGB [H, W, C]."""
    write_whole(path, png_bytes(pixels, path))


def _write_description(evidence: Evidence, folder: Path, splits: Mapping[str, Sequence[str]]) -> None:
    assert evidence.coding is not None
    given = evidence.seen.description
    values = {
        "name": given.name or evidence.seen.path.resolve().name,
        "task": given.task,
        "classes": list(evidence.coding.classes),
        "background": given.background,
        "ignore_index": given.ignore_index,
        "roi": given.roi,
        **given.model_dump(mode="json", include=set(ABOUT_DEPTH)),
        "splits": {split: list(stems) for split, stems in splits.items()},
        "groups": {group: list(stems) for group, stems in given.groups.items()} or None,
    }
    with atomic_path(folder / "dataset.yaml") as path:
        kept = {key: value for key, value in values.items() if value is not None}
        text = yaml_of(kept, allow_unicode=True, default_flow_style=None, width=110)
        path.write_text(text, encoding="utf-8")


def mended_splits(evidence: Evidence, repairs: Sequence[Repair]) -> dict[str, tuple[str, ...]]:
    """Return the splits after some repairs: names taken out, each in one split, empty splits drawn."""
    names: dict[str, set[str]] = defaultdict(set)
    for repair in repairs:
        names[repair.kind].update(repair.names)
    gone = names["drop"] | names["omit"]
    splits = {split: [s for s in stems if s not in gone] for split, stems in evidence.seen.splits.items()}
    return _drawn(each_once(splits, names["one_split"]), names["draw"], gone, evidence)


def _drawn(
    splits: dict[str, list[str]], wanted: set[str], gone: set[str], evidence: Evidence
) -> dict[str, tuple[str, ...]]:
    """Fill the splits asked for from the training pictures, or draw all anew where there are no splits at all."""
    groups = evidence.seen.description.groups
    if not splits.get("train") and any(splits.values()):
        wanted = set()  # what is in another split isn't for training
    elif wanted and not splits.get("train"):
        usable = [one.name for one in evidence.facts if one.masks and one.picture is not None and one.name not in gone]
        return draw_splits(usable, groups)
    total = sum(map(len, splits.values()))
    for split in (split for split in ("test", "val") if split in wanted):
        order = hashed_groups(splits["train"], groups)
        splits[split] = []
        while len(order) > 1 and len(splits[split]) < max(1, round(SHARES[split] * total)):
            splits[split] += order.pop()
        splits["train"] = sorted(stem for members in order for stem in members)
    return {split: tuple(stems) for split, stems in splits.items()}
