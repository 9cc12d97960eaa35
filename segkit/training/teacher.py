"""What is laid beside the training pictures: a teacher's maps, or where the members before are wrong."""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from segkit.artifact import AnyModel, load_segmentation
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.listing import is_volume
from segkit.data.masks import IGNORE, Ids
from segkit.data.reader import PICTURES
from segkit.ensemble import Ensemble
from segkit.errors import ModelError, UsageError
from segkit.files import atomic_path
from segkit.prediction.of_sample import check_fit, predict_sample
from segkit.prediction.predictor import Predictor
from segkit.prediction.sources import expand
from segkit.recipe import TeacherRecipe
from segkit.statistics import maximum_entropy
from segkit.task import Task
from segkit.training.beside import FULL

Maps = NDArray[np.uint8]


def open_teacher(recipe: TeacherRecipe, folder: DatasetFolder) -> AnyModel:
    """The teacher that a recipe names.

    Raises:
        ModelError: there is none, or it is of other classes than the dataset.
    """
    try:
        teacher = load_segmentation(recipe.model)
        check_fit(teacher, folder)
    except ModelError as error:
        raise ModelError(f"teacher.model={recipe.model}: {error}") from error
    return teacher


def unlabelled_pictures(recipe: TeacherRecipe, out: Path, dataset: DatasetFolder) -> list[Sample]:
    """The further pictures that a recipe names; those of the dataset itself are left out.

    Raises:
        UsageError: there is no such folder, no picture in it, or it is a dataset's, whose masks would be taken too.
    """
    if recipe.unlabelled is None:
        return []
    place = Path(recipe.unlabelled)
    if not place.is_dir():
        raise UsageError(f"teacher.unlabelled: {place}: no such folder of pictures")
    if (place / "images").is_dir() and (place / "masks").is_dir():
        raise UsageError(
            f"teacher.unlabelled: {place}: a dataset, whose masks are pictures too; name {place / 'images'}"
        )
    known = dataset.files.values()
    own = {file.resolve() for sample in known for file in (sample.image, sample.mask, sample.depth, sample.roi) if file}
    found = [
        Sample(f"unlabelled/{source.path.stem}", source.path)
        for source in expand(place, out)
        if source.found and not own & {source.path.resolve(), source.path.resolve().parent}
    ]
    volumes = [sample.image for sample in found if is_volume(sample.image)]
    if volumes:
        raise UsageError(f"teacher.unlabelled: {volumes[0]}: a volume; pictures alone are taken there")
    if not found:
        raise UsageError(f"teacher.unlabelled: {place}: no pictures there but the dataset's own; expected {PICTURES}")
    return found


class Stored(Sequence[Maps]):
    """Maps in files, opened when they are asked for: a process may hold no more than some hundred files open."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, number: int) -> Maps: ...

    @overload
    def __getitem__(self, number: slice) -> "Stored": ...

    def __getitem__(self, number: int | slice) -> "Maps | Stored":
        if isinstance(number, slice):
            return Stored(self._paths[number])
        found: Maps = np.load(self._paths[number], mmap_mode="r")
        return found


def teach(
    teacher: AnyModel,
    samples: Sequence[Sample],
    dataset: DatasetFolder,
    folder: Path,
    say: Callable[[str], None],
    *,
    inside_roi: bool,
) -> Stored:
    """The teacher's maps of each picture: bytes [H, W, maps + 1], 0..254 for 0..1, probabilities and disagreement.

    Disagreement is its mutual information over the largest entropy, 0 where the teacher doesn't tell it. They are kept
    in ``folder``, one file a picture, and taken from there when training goes on. The teacher is then on the CPU. With
    ``inside_roi`` the bytes outside the region of interest are 255, which teach nothing.
    """
    predictor = Predictor(teacher)
    return _stored(
        samples,
        folder,
        partial(_taught, predictor, dataset, inside_roi),
        lambda count: say(f"the teacher looks at {count} pictures"),
    )


def mistakes(
    model: Ensemble,
    samples: Sequence[Sample],
    dataset: DatasetFolder,
    folder: Path,
    *,
    inside_roi: bool,
    stopped: Callable[[], bool] = lambda: False,
) -> Stored:
    """How wrong a model is on each picture: bytes [H, W, 1], 0..254 for 1 - p of the truth; 0 where nothing counts.

    Of a multilabel picture the worst of its maps counts. They are kept as a teacher's are. With ``inside_roi`` nothing
    counts outside the region of interest. Those made until ``stopped`` says so are there when training goes on.
    """
    predictor = Predictor(model)

    def wrong(sample: Sample) -> Maps:
        probabilities = predict_sample(predictor, dataset, sample).probabilities
        truth = dataset.read_mask(sample, probabilities.shape[1:], inside_roi=inside_roi)
        return _bytes(wrongness(probabilities, truth, dataset.task)[None])

    return _stored(samples, folder, wrong, lambda _: None, stopped)


def _stored(
    samples: Sequence[Sample],
    folder: Path,
    make: Callable[[Sample], Maps],
    tell: Callable[[int], None],
    stopped: Callable[[], bool] = lambda: False,
) -> Stored:
    """Maps of each picture, made where their file isn't there yet, and nobody wants to stop."""
    keys = [f"{sample.image}" + (f" {sample.name}" if sample.plane is not None else "") for sample in samples]
    paths = [folder / f"{sha256(key.encode()).hexdigest()[:32]}.npy" for key in keys]
    missing = [(sample, path) for sample, path in zip(samples, paths, strict=True) if not path.is_file()]
    if missing:
        tell(len(missing))
    for sample, path in missing:
        if stopped():
            break
        with atomic_path(path) as temporary:
            np.save(temporary, make(sample))
    return Stored(paths)


def _taught(predictor: Predictor, dataset: DatasetFolder, inside_roi: bool, sample: Sample) -> Maps:
    prediction = predict_sample(predictor, dataset, sample)
    largest = maximum_entropy(prediction.task, len(prediction.probabilities))
    between = np.zeros_like(prediction.entropy) if prediction.disagreement is None else prediction.disagreement
    maps = _bytes(np.concatenate([prediction.probabilities, between[None] / np.float32(largest)]))
    if inside_roi and sample.roi is not None and sample.mask is not None:
        drawn, counted = (dataset.read_mask(sample, maps.shape[:2], inside_roi=each) for each in (False, True))
        outside = (drawn != IGNORE) & (counted == IGNORE)
        maps[outside.any(0) if outside.ndim == 3 else outside] = IGNORE
    return maps


def wrongness(probabilities: NDArray[np.float32], truth: Ids, task: Task) -> NDArray[np.float32]:
    """1 - p of the truth [H, W], of probabilities [maps, H, W]; 0 where nothing counts."""
    counted = truth != IGNORE
    ids = np.where(counted, truth, 0)
    if task == "multiclass":
        wrong: NDArray[np.float32] = 1 - np.take_along_axis(probabilities, ids[None].astype(np.int64), axis=0)
    else:
        wrong = np.abs((ids == 1) - probabilities)
    worst: NDArray[np.float32] = np.where(counted, wrong, np.float32(0)).max(0)
    return worst


def _bytes(maps: NDArray[np.float32]) -> Maps:
    """[E, H, W] in 0..1 to bytes [H, W, E]."""
    return np.ascontiguousarray(np.rint(maps.clip(0, 1) * FULL).astype(np.uint8).transpose(1, 2, 0))
