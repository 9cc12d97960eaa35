"""Many images predicted and written: reading ahead and writing behind while the model works."""

import os
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from segkit.allocator import reused_memory
from segkit.data.claims import LIMIT
from segkit.data.depth import DEPTHS
from segkit.data.depth_format import DepthFormat
from segkit.data.listing import is_volume
from segkit.data.picture import Picture, checked_mpp, open_picture
from segkit.errors import DataError, SegkitError, UsageError
from segkit.files import WINDOWS, remove_temporary, temporary_path
from segkit.given_path import given_path
from segkit.one_line import one_line
from segkit.prediction.ahead import in_order
from segkit.prediction.depth import check_meaning
from segkit.prediction.depth_folder import DepthFolder, Depths
from segkit.prediction.fingerprint import fingerprint
from segkit.prediction.manifest import MANIFEST, Entry, Manifest, check_resumable, file_hash, files_hash
from segkit.prediction.prediction import Prediction, output_kinds
from segkit.prediction.pseudonyms import NameHiding, pseudonymised
from segkit.prediction.run_report import measures_of, remove_report, write_preview, write_report
from segkit.prediction.settings import Kept
from segkit.prediction.sources import Source, expand, identities, identity, without_collisions
from segkit.prediction.writers import output_folder, output_paths

if TYPE_CHECKING:
    from segkit.data.volume import Volume
    from segkit.prediction.predictor import Predictor
    from segkit.prediction.protocol import Model

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
        skipped: why nothing was made of it where that is no fault, such as a localizer's; None for every image.
        notes: what was decided on reading it.
        burned_in: whether text may be in its pixels.
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
    skipped: str | None = None
    notes: tuple[str, ...] = ()
    burned_in: bool = False


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
    mpp: float | None = None,
    report: bool = False,
    pseudonymise: bool = False,
    resume: bool = False,
    progress: Callable[[int, int, Outcome], None] | None = None,
) -> list[Outcome]:
    """Predict many images and write what is asked for under ``out``; return one outcome an image.

    An image that can't be predicted has its error in its outcome, and the rest go on. Of an image that is done again,
    or can't be, nothing is left that an earlier run wrote and this one doesn't. No input is ever overwritten, and of
    two inputs whose outputs would have one name (``x.png`` beside ``x.jpg``) the second is refused.

    Args:
        sources: files, folders (with their subfolders) and patterns, see :func:`segkit.prediction.sources.expand`.
        out: the output folder; below it the inputs' folders are mirrored.
        overlay, probability, entropy, disagreement: what to write beside the mask, see ``Prediction.save``.
        threshold: as in ``Predictor.predict``.
        depth: folder of the images' depth, or of another second modality that the model takes, by the stem of their
            names; an image without is predicted without. With ``overlay``, a picture of it and of what it changed
            is written too, which takes a second prediction.
        depth_format: what its values mean; by default what they meant in training.
        mpp: microns per pixel that all the pictures have, as in ``Predictor.predict``.
        report: measure each class of each image, into ``measures.csv`` and ``measures.json``, draw
            ``STEM_preview.png``, and put all of it into one page, ``index.html``, that needs no network.
        pseudonymise: call all outputs by the content of their images in the place of their names.
        resume: leave out what an earlier run into ``out`` wrote from the same picture with the same model and
            settings, and what is still whole.
        progress: called after each image with the number done, the number of all, and the outcome.

    Raises:
        DataError: the folder of depth isn't there, or has nothing for any of the images.
        UsageError: ``disagreement`` of a single model, depth for a model of images alone, class names that can't
            name files, or an ``out`` that is one of the folders named or can't be written into.
    """
    out, depth = given_path(out, "out"), None if depth is None else given_path(depth, "depth")
    if disagreement and not predictor.model.disagrees:
        why = getattr(predictor.model, "no_disagreement", "this model is a single one")
        raise UsageError(f"disagreement is between the members of an ensemble; {why}")
    kinds = output_kinds(overlay=overlay, probability=probability, entropy=entropy, disagreement=disagreement)
    labelling = predictor.labelling(threshold)
    kinds += ["preview"] if report else []
    targets = [*kinds, "depth"] if overlay and depth is not None else kinds
    reader = predictor.model.reader
    meaning = None if depth is None else (depth_format or reader.depth)
    if meaning is not None:
        check_meaning(meaning, reader)
    images = expand(sources, out)
    depths = _depths(predictor, images, depth)
    if pseudonymise:
        images = pseudonymised(images, out)
    planned = without_collisions(images, partial(_targets, predictor.model, kinds=targets))
    if resume:
        check_resumable(out / MANIFEST)
    output_folder(out)
    written = [path for source in planned if source.found for path in _targets(predictor.model, source, kinds=targets)]
    run = fingerprint(predictor, threshold=threshold, kinds=kinds, depth_format=meaning, mpp=checked_mpp(mpp))
    with Manifest(out / MANIFEST, resume=resume) as manifest:
        for folder in {out, *(source.folder for source in planned), *(path.parent for path in written)}:
            if _is_ours(folder, out):
                remove_temporary(folder, ".*")  # left by a killed run
        hidden = NameHiding(planned) if pseudonymise else None
        line = _Line(
            predictor=predictor,
            kinds=kinds,
            targets=targets,
            threshold=threshold,
            depths=depths,
            depth_format=meaning,
            mpp=mpp,
            out=out,
            run=run,
            manifest=manifest,
            hidden=hidden,
            written=frozenset(written),
            inputs=frozenset(identities(planned)),
        )
        outcomes, entries = [], []
        with closing(line.through(planned)) as finished:
            for source, (entry, kept) in zip(planned, finished, strict=True):
                entries.append(entry)
                paths = tuple(out / name for name in entry.outputs)
                fault = entry.error if entry.status == "error" else None
                outcomes.append(
                    Outcome(
                        source=source.path,
                        paths=paths,
                        error=fault,
                        seconds=entry.seconds,
                        depth=depths.files.get(source.path),
                        kept=kept,
                        trust=entry.trust,
                        skipped=source.skipped,
                        notes=tuple(entry.notes),
                        burned_in=entry.burned_in,
                    )
                )
                if progress is not None:
                    progress(len(outcomes), len(planned), outcomes[-1])
        everything = manifest.finish(entries)
        reported = any(entry.measures is not None for entry in manifest.before.values())
        if reported and not report and not all(outcome.kept for outcome in outcomes):
            remove_report(out)  # which is of other masks
        if report:
            settings = {name: getattr(predictor, name) for name in ("tile", "overlap", "tta", "precision")}
            settings["threshold"] = labelling.threshold
            if labelling.steps is not None:
                settings["postprocess"] = labelling.steps.described()
            write_report(out, [entry for entry in everything if entry.run == run], predictor, settings)
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
    picture: "Picture | Volume | None" = None
    notes: tuple[str, ...] = ()
    prediction: Prediction | None = None
    scratch: Path | None = None  # the folder of the prediction's memory maps


@dataclass(frozen=True)
class _Line:
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
                step = replace(step, picture=picture, notes=(*getattr(picture, "notes", ()), *of_depth))
            except SegkitError as problem:
                step = replace(step, error=str(problem))
        return replace(step, seconds=time.perf_counter() - start)

    def _opened(self, source: Source) -> "Picture | Volume":
        """A picture ready to be read by rows, at the model's resolution, or a volume."""
        limit = self.predictor.limit
        if self.mpp is not None and (source.series is not None or is_volume(source.path)):
            raise UsageError(f"{source.path}: a volume, whose file says its spacing; leave mpp out")
        if source.series is not None:
            from segkit.medical.dicom_seg_write import why_no_seg
            from segkit.medical.dicom_volume import read_series

            volume = read_series(source.series, limit=limit)
            if why := why_no_seg(volume):  # sooner than when all is computed
                raise DataError(why)
            return volume
        if is_volume(source.path):
            from segkit.medical.reading import read_volume

            return read_volume(source.path, limit=limit)
        return open_picture(source.path, limit=limit, mpp=self.predictor.model.reader.mpp, own=self.mpp)

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
            step = replace(step, notes=(*step.notes, *getattr(prediction, "depth_notes", ())))
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
            except OSError as problem:
                error = f"{step.source.path}: can't write its results ({one_line(problem)})"
        if error is not None and step.source.found:
            # What an earlier run left under these names isn't of the picture as it is now; nor is what was begun.
            known = self._left_before(step.source)
            for path in _targets(self.predictor.model, step.source, kinds=self.targets):
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


def _depths(predictor: "Predictor", planned: list[Source], folder: str | Path | None) -> Depths:
    """The depth of the pictures to predict."""
    if folder is None:
        return Depths()
    if not predictor.model.reader.depth_channels:
        raise UsageError(f"depth={folder}: this model takes images alone; leave it out")
    found = DepthFolder(folder).of(source for source in planned if source.found)
    if planned and not found.files:
        raise DataError(f"{folder}: no {', '.join(DEPTHS)} there has the stem of any of the {len(planned)} pictures")
    return found


def _is_ours(folder: Path, out: Path) -> bool:
    """Whether no other run may be writing into a folder: one whose manifest is there or above, ``out``'s own aside."""
    place, home = folder.resolve(), out.resolve()
    return not any((each / MANIFEST).exists() for each in (place, *place.parents) if each != home)


def _targets(model: "Model", source: Source, *, kinds: list[str]) -> list[Path]:
    name, suffix = source.name, source.suffix
    paths = output_paths(
        source.folder, name, kinds, suffix=suffix, task=model.task, classes=model.classes, maps=model.maps
    )
    return [path for group in paths.values() for path in group]


def _remove(path: Path) -> None:
    """Remove a file; on Windows one that somebody has open stays."""
    with suppress(PermissionError) if WINDOWS else nullcontext():
        path.unlink()
