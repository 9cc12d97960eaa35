"""Many images predicted and written: reading ahead and writing behind while the model works."""

import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from segkit.allocator import reused_memory
from segkit.data.depth_format import DepthFormat
from segkit.data.picture import Picture, open_picture
from segkit.errors import DataError, SegkitError, UsageError
from segkit.files import remove_temporary, temporary_path
from segkit.prediction.ahead import in_order
from segkit.prediction.depth_folder import DepthFolder
from segkit.prediction.fingerprint import fingerprint
from segkit.prediction.manifest import MANIFEST, Entry, Manifest, file_hash
from segkit.prediction.prediction import Prediction, output_kinds
from segkit.prediction.settings import Kept, settings_for
from segkit.prediction.sources import Source, expand, without_collisions
from segkit.prediction.writers import output_folder, output_paths

if TYPE_CHECKING:
    from segkit.prediction.predictor import Model, Predictor

AHEAD = 2  # pictures decoded while one is predicted; more would take memory and no time


@dataclass(frozen=True)
class Outcome:
    """How it went with one image.

    Attributes:
        source: the image's file, or a name that led to none.
        paths: the files written.
        error: one line that says why there are none.
        seconds: of reading, predicting and writing.
        depth: the file of its depth, None where there was none.
        kept: whether an earlier run did it, and nothing had to be done.
        trust: figures of ``Prediction.trust``; None where the model wasn't taught it.
    """

    source: Path
    paths: tuple[Path, ...] = ()
    error: str | None = None
    seconds: float = 0.0
    depth: Path | None = None
    kept: bool = False
    trust: dict[str, Any] | None = None


@reused_memory()
def predict_files(
    predictor: "Predictor",
    sources: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    overlay: bool = False,
    probability: bool = False,
    entropy: bool = False,
    disagreement: bool = False,
    threshold: float | Kept = "kept",
    depth: str | Path | None = None,
    depth_format: DepthFormat | None = None,
    resume: bool = False,
    progress: Callable[[int, int, Outcome], None] | None = None,
) -> list[Outcome]:
    """Predict many images and write what is asked for under ``out``; see ``Predictor.predict_files``."""
    if disagreement and not predictor.model.disagrees:
        why = getattr(predictor.model, "no_disagreement", "this model is a single one")
        raise UsageError(f"disagreement is between the members of an ensemble; {why}")
    kinds = output_kinds(overlay=overlay, probability=probability, entropy=entropy, disagreement=disagreement)
    given = predictor.threshold if threshold == "kept" else threshold
    threshold = settings_for(predictor.model, threshold=given).threshold
    targets = [*kinds, "depth"] if overlay and depth is not None else kinds
    planned = without_collisions(expand(sources, out), partial(_targets, predictor.model, kinds=targets))
    depths = _depths(predictor, planned, depth)
    out = output_folder(out)
    reader = predictor.model.reader
    meaning = None if depth is None else (depth_format or reader.depth)
    run = fingerprint(predictor, threshold=threshold, kinds=kinds, depth_format=meaning)
    with Manifest(out / MANIFEST, resume=resume) as manifest:
        remove_temporary(out)  # left by a killed run: no other writes here while the manifest is held
        line = _Line(predictor, kinds, threshold, depths, meaning, out, run, manifest)
        outcomes, entries = [], []
        with closing(line.through(planned)) as finished:
            for source, (entry, kept) in zip(planned, finished, strict=True):
                entries.append(entry)
                paths = tuple(out / name for name in entry.outputs)
                used = depths.get(source.place)
                outcomes.append(Outcome(source.path, paths, entry.error, entry.seconds, used, kept, entry.trust))
                if progress is not None:
                    progress(len(outcomes), len(planned), outcomes[-1])
        manifest.finish(entries)
    return outcomes


@dataclass(frozen=True)
class _Step:
    """An image on its way through the line."""

    source: Source
    sha256: str | None
    depth: str | None  # SHA-256 of that file
    error: str | None
    seconds: float = 0.0
    done: Entry | None = None  # by an earlier run
    picture: Picture | None = None
    prediction: Prediction | None = None
    scratch: Path | None = None  # the folder of the prediction's memory maps


@dataclass(frozen=True)
class _Line:
    """Reads in threads, predicts in the thread that asks, writes in another one; everything in the images' order."""

    predictor: "Predictor"
    kinds: list[str]
    threshold: float
    depths: dict[str, Path]
    depth_format: DepthFormat | None
    out: Path
    run: str
    manifest: Manifest

    def through(self, planned: list[Source]) -> Generator[tuple[Entry, bool], None, None]:
        """The entry of each image when it is in the manifest, and whether an earlier run had done it."""
        with (
            ThreadPoolExecutor(AHEAD) as readers,
            ThreadPoolExecutor(1) as writer,
            closing(in_order(readers, self._read, planned, waiting=AHEAD)) as read,
            closing(in_order(writer, self._write, map(self._predict, read), waiting=1)) as written,
        ):
            yield from written

    def _read(self, source: Source) -> _Step:
        start = time.perf_counter()
        depth = self.depths.get(source.place)
        step = _Step(source, file_hash(source.path), None if depth is None else file_hash(depth), source.error)
        if step.error is None:
            earlier = self.manifest.earlier.get(source.place)
            if earlier is not None and earlier.is_done(step.sha256, step.depth, self.run, self.out):
                return replace(step, done=earlier)
            try:
                step = replace(step, picture=open_picture(source.path, limit=self.predictor.limit))
            except SegkitError as problem:
                step = replace(step, error=str(problem))
        return replace(step, seconds=time.perf_counter() - start)

    def _predict(self, step: _Step) -> _Step:
        if step.picture is None:
            return step
        start = time.perf_counter()
        scratch = temporary_path(step.source.folder) if self._is_large(step.picture) else None
        prediction, error = None, None
        try:
            depth = self.depths.get(step.source.place)
            ask = partial(self.predictor.predict, step.picture, threshold=self.threshold)
            prediction = ask(scratch, depth=depth, depth_format=self.depth_format)
            if depth is not None and "overlay" in self.kinds:
                prediction = replace(prediction, without_depth=ask().labels)
        except SegkitError as problem:
            error = str(problem)
        seconds = step.seconds + time.perf_counter() - start
        return replace(step, picture=None, prediction=prediction, scratch=scratch, error=error, seconds=seconds)

    def _is_large(self, picture: Picture) -> bool:
        """Whether the maps of a prediction would take more memory than a picture may."""
        height, width, _ = picture.shape
        return height * width * 4 * (self.predictor.model.maps + 3) > self.predictor.limit

    def _write(self, step: _Step) -> tuple[Entry, bool]:
        if step.done is not None:
            return step.done, True
        start = time.perf_counter()
        paths: list[Path] = []
        error = step.error
        trust = None
        if step.prediction is not None:
            asked = {kind: True for kind in self.kinds if kind != "mask"}
            try:
                judged = step.prediction.trust
                trust = judged.figures() if judged is not None else None
                paths = step.prediction.save(step.source.folder, **asked)
            except SegkitError as problem:
                error = str(problem)
            except OSError as problem:
                error = f"{step.source.path}: can't write its results ({problem})"
        if error is not None and step.source.error is None:
            # What an earlier run left under these names isn't of the picture as it is now.
            for path in _targets(self.predictor.model, step.source, kinds=[*self.kinds, "depth"]):
                if path.is_file():
                    path.unlink()
        if step.scratch is not None:
            rmtree(step.scratch, ignore_errors=True)
        entry = Entry(
            input=step.source.place,
            sha256=step.sha256,
            depth=step.depth,
            status="ok" if error is None else "error",
            outputs={path.relative_to(self.out).as_posix(): file_hash(path) for path in paths},
            error=error,
            seconds=round(step.seconds + time.perf_counter() - start, 3),
            run=self.run,
            trust=trust,
        )
        self.manifest.append(entry)
        return entry, False


def _depths(predictor: "Predictor", planned: list[Source], folder: str | Path | None) -> dict[str, Path]:
    """The depth file of each picture that has one, by the picture's place."""
    if folder is None:
        return {}
    if not predictor.model.reader.depth_channels:
        raise UsageError(f"depth={folder}: this model takes images alone; leave it out")
    files = DepthFolder(folder)
    found = {source.place: files.of(source) for source in planned if source.error is None}
    if planned and not any(found.values()):
        raise DataError(f"{folder}: no file there has the stem of any of the {len(planned)} pictures")
    return {place: file for place, file in found.items() if file is not None}


def _targets(model: "Model", source: Source, *, kinds: list[str]) -> list[Path]:
    name, suffix = source.path.stem, source.path.suffix
    paths = output_paths(
        source.folder, name, kinds, suffix=suffix, task=model.task, classes=model.classes, maps=model.maps
    )
    return [path for group in paths.values() for path in group]
