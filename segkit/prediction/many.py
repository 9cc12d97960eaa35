"""Many images predicted and written: reading ahead and writing behind while the model works."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.allocator import reused_memory
from segkit.data.depth import DEPTHS
from segkit.data.depth_format import DepthFormat
from segkit.data.picture import checked_mpp
from segkit.errors import DataError, UsageError
from segkit.files import remove_temporary
from segkit.given_path import given_path
from segkit.prediction.depth import check_meaning
from segkit.prediction.depth_folder import DepthFolder, Depths
from segkit.prediction.fingerprint import fingerprint
from segkit.prediction.line import Line, targets_of
from segkit.prediction.manifest import MANIFEST, Manifest, check_resumable
from segkit.prediction.prediction import output_kinds
from segkit.prediction.pseudonyms import NameHiding, pseudonymised
from segkit.prediction.run_report import check_report_place, remove_report, write_report
from segkit.prediction.settings import Kept
from segkit.prediction.sources import Source, expand, identities, without_collisions
from segkit.prediction.writers import output_folder

if TYPE_CHECKING:
    from segkit.prediction.predictor import Predictor


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
    planned = without_collisions(images, partial(targets_of, predictor.model, kinds=targets))
    if planned and not any(source.skipped or (source.found and source.path.exists()) for source in planned):
        # Nothing is left to look at, as after a slip in a name: what an earlier run left stays as it is.
        return [Outcome(source.path, error=source.error or f"{source.path}: no such file") for source in planned]
    if resume:
        check_resumable(out / MANIFEST)
    if report:
        check_report_place(out)
    output_folder(out)
    written = [
        path for source in planned if source.found for path in targets_of(predictor.model, source, kinds=targets)
    ]
    run = fingerprint(predictor, threshold=threshold, kinds=kinds, depth_format=meaning, mpp=checked_mpp(mpp))
    with Manifest(out / MANIFEST, resume=resume) as manifest:
        for folder in {out, *(source.folder for source in planned), *(path.parent for path in written)}:
            if _is_ours(folder, out):
                remove_temporary(folder, ".*")  # left by a killed run
        hidden = NameHiding(planned) if pseudonymise else None
        line = Line(
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
