"""The line that images go through: read in threads, predicted in the one that asks, written in another."""

import os
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from segkit.data.cases import notes_on_spacing
from segkit.data.claims import LIMIT
from segkit.data.depth_format import DepthFormat
from segkit.data.picture import Picture
from segkit.errors import DataError, SegkitError, UsageError
from segkit.files import WINDOWS, temporary_path
from segkit.one_line import one_line
from segkit.prediction.ahead import in_order
from segkit.prediction.depth_folder import Depths
from segkit.prediction.manifest import Entry, Manifest, file_hash, files_hash
from segkit.prediction.opening import opened
from segkit.prediction.prediction import Prediction
from segkit.prediction.pseudonyms import NameHiding
from segkit.prediction.run_report import measures_of, write_preview
from segkit.prediction.settings import Kept
from segkit.prediction.sources import Source, identity
from segkit.prediction.writers import output_paths

if TYPE_CHECKING:
    from segkit.data.volume import Volume
    from segkit.prediction.predictor import Predictor
    from segkit.prediction.protocol import Model

AHEAD = 2  # pictures decoded while one is predicted; more would take memory and no time


@dataclass(frozen=True)
class _Step:
    """An image on its way through the line."""

    source: Source
    sha256: str | None
    depth: str | None  # SHA-256 of that file
    error: str | None
    seconds: float = 0.0
    done: Entry | None = None  # by an earlier run
    picture: "Picture | Volume | None" = None
    notes: tuple[str, ...] = ()
    prediction: Prediction | None = None
    scratch: Path | None = None  # the folder of the prediction's memory maps


@dataclass(frozen=True)
class Line:
    """Reads in threads, predicts in the thread that asks, writes in another one; everything in the images' order."""

    predictor: "Predictor"
    kinds: list[str]
    targets: list[str]  # and the pictures of depth, where there will be any
    threshold: float | Kept
    depths: Depths
    depth_format: DepthFormat | None
    mpp: float | None
    out: Path
    run: str
    manifest: Manifest
    hidden: NameHiding | None  # of what may not be told
    written: frozenset[Path]  # by this run
    inputs: frozenset[tuple[int, int]]

    def through(self, planned: list[Source]) -> Generator[tuple[Entry, bool], None, None]:
        """The entry of each image when it is in the manifest, and whether an earlier run had done it."""
        with (
            ThreadPoolExecutor(AHEAD) as readers,
            ThreadPoolExecutor(1) as writer,
            closing(in_order(readers, self._read, planned, waiting=AHEAD)) as read,
            closing(in_order(writer, self._write, map(self._predict, read), waiting=1)) as written,
        ):
            for entry, done, scratch in written:
                if scratch is not None:
                    rmtree(scratch, ignore_errors=True)
                yield entry, done

    def _read(self, source: Source) -> _Step:
        start = time.perf_counter()
        depth = self.depths.files.get(source.path)
        digest = files_hash(source.files) if source.found or source.error is not None else None
        step = _Step(source, digest, None if depth is None else file_hash(depth), source.error)
        if source.found:
            earlier = self.manifest.earlier.get(source.place)
            if earlier is not None and earlier.is_done(step.sha256, step.depth, self.run, self.out):
                return replace(step, done=earlier)
            try:
                picture = self._opened(source)
                of_depth = self.depths.notes.get(source.path, ())
                of_spacing = notes_on_spacing(picture, self.predictor.model.reader)
                step = replace(step, picture=picture, notes=(*picture.notes, *of_spacing, *of_depth))
            except SegkitError as problem:
                step = replace(step, error=str(problem))
        return replace(step, seconds=time.perf_counter() - start)

    def _opened(self, source: Source) -> "Picture | Volume":
        """A picture ready to be read by rows, at the model's resolution, or a volume."""
        limit = self.predictor.limit
        if source.series is not None:
            if self.mpp is not None:
                raise UsageError(f"{source.path}: a volume, and mpp is of pictures; leave it out")
            from segkit.medical.dicom_seg_write import check_segments, why_no_seg
            from segkit.medical.dicom_volume import read_series

            model = self.predictor.model
            check_segments(model.classes, model.task, model.background)
            volume = read_series(source.series, limit=limit)
            if why := why_no_seg(volume):  # sooner than when all is computed
                raise DataError(why)
            return volume
        return opened(source.path, limit, self.predictor.model.reader, self.mpp)

    def _predict(self, step: _Step) -> _Step:
        if step.picture is None:
            return step
        start = time.perf_counter()
        scratch = temporary_path(step.source.folder) if self._is_large(step.picture) else None
        prediction, error = None, None
        try:
            depth = self.depths.files.get(step.source.path)
            ask = partial(self.predictor.predict, step.picture, threshold=self.threshold)
            prediction = ask(scratch, depth=depth, depth_format=None if depth is None else self.depth_format)
            if depth is not None and "overlay" in self.kinds:
                prediction = replace(prediction, without_depth=ask().labels)
            prediction = replace(prediction, name=step.source.name)
            step = replace(step, notes=(*step.notes, *prediction.depth_notes))
        except SegkitError as problem:
            error = str(problem)
        seconds = step.seconds + time.perf_counter() - start
        return replace(step, picture=None, prediction=prediction, scratch=scratch, error=error, seconds=seconds)

    def _is_large(self, picture: "Picture | Volume") -> bool:
        """Whether the maps of a prediction would take more memory than a picture may; those of a volume are held."""
        if not isinstance(picture, Picture):
            return False
        height, width, _ = picture.shape
        return height * width * 4 * (self.predictor.model.maps + 3) > min(self.predictor.limit, LIMIT)

    def _write(self, step: _Step) -> tuple[Entry, bool, Path | None]:
        """The entry, whether an earlier run had done it, and on Windows a folder to remove when its maps are closed."""
        if step.done is not None:
            return step.done, True, None
        start = time.perf_counter()
        paths: list[Path] = []
        error = step.error
        trust, measures = None, None
        if step.prediction is not None:
            asked = {kind: True for kind in self.kinds if kind not in ("mask", "preview")}
            try:
                judged = step.prediction.trust
                trust = judged.figures() if judged is not None else None
                paths = step.prediction.save(step.source.folder, **asked)
                if "preview" in self.kinds:
                    measures = measures_of(step.prediction)
                    paths.append(step.source.folder / f"{step.source.name}_preview.png")
                    write_preview(paths[-1], step.prediction)
            except SegkitError as problem:
                error = str(problem)
            except (OSError, MemoryError) as problem:
                error = f"{step.source.path}: can't write its results ({one_line(problem)})"
        if error is not None and step.source.found:
            # What an earlier run left under these names isn't of the picture as it is now; nor is what was begun.
            known = self._left_before(step.source)
            for path in targets_of(self.predictor.model, step.source, kinds=self.targets):
                begun = step.prediction is not None or path in known
                if begun and os.path.isfile(path):  # noqa: PTH113  Path's raises where a name is too long
                    _remove(path)
            paths = []
        for path in self._left_over(step.source):
            _remove(path)
        if step.scratch is not None and not WINDOWS:
            rmtree(step.scratch, ignore_errors=True)
        skipped = step.source.skipped
        if error is not None and self.hidden is not None:
            error = self.hidden.of(error)
        entry = Entry(
            input=step.source.place,
            sha256=step.sha256,
            depth=step.depth,
            status="skipped" if skipped else "ok" if error is None else "error",
            outputs={path.relative_to(self.out).as_posix(): file_hash(path) for path in paths},
            error=error or skipped,
            name=step.source.name if step.source.found else "",
            measures=measures,
            notes=list(step.notes),
            burned_in=step.source.series is not None and step.source.series.burned_in,
            seconds=round(step.seconds + time.perf_counter() - start, 3),
            run=self.run,
            trust=trust,
        )
        self.manifest.append(entry)
        return entry, False, step.scratch if WINDOWS else None

    def _left_over(self, source: Source) -> list[Path]:
        """What an earlier run wrote of a source and this one doesn't, as it was left."""
        return [path for path in self._left_before(source) if path not in self.written]

    def _left_before(self, source: Source) -> list[Path]:
        """What an earlier run wrote of a source, as it was left."""
        earlier = self.manifest.before.get(source.place)
        outputs = {} if earlier is None else {self.out / name: digest for name, digest in earlier.outputs.items()}
        return [
            path
            for path, digest in outputs.items()
            if path.resolve().is_relative_to(self.out.resolve())
            and file_hash(path) == digest
            and identity(path) not in self.inputs
        ]


def targets_of(model: "Model", source: Source, *, kinds: list[str]) -> list[Path]:
    """Where the kinds of output of a source are written."""
    name, suffix = source.name, source.suffix
    paths = output_paths(
        source.folder, name, kinds, suffix=suffix, task=model.task, classes=model.classes, maps=model.maps
    )
    return [path for group in paths.values() for path in group]


def _remove(path: Path) -> None:
    """Remove a file; on Windows one that somebody has open stays."""
    with suppress(PermissionError) if WINDOWS else nullcontext():
        path.unlink()
