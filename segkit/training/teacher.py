"""What is laid beside the training pictures: a teacher's maps, or where the members before are wrong."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.artifact import AnyModel, load
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.masks import IGNORE, Ids
from segkit.data.reader import PICTURES
from segkit.errors import UsageError
from segkit.evaluation.report import check_fit
from segkit.files import atomic_path
from segkit.prediction.predictor import Model, Predictor
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
    teacher = load(recipe.model)
    check_fit(teacher, folder)
    return teacher


def unlabelled_pictures(recipe: TeacherRecipe, out: Path, known: Sequence[Sample]) -> list[Sample]:
    """The further pictures that a recipe names; those of the dataset itself are left out.

    Raises:
        UsageError: there is no such folder, or no picture in it.
    """
    if recipe.unlabelled is None:
        return []
    place = Path(recipe.unlabelled)
    if not place.is_dir():
        raise UsageError(f"teacher.unlabelled: {place}: no such folder of pictures")
    taken = {sample.image.resolve() for sample in known}
    paths = [source.path for source in expand(place, out) if source.error is None]
    found = [Sample(f"unlabelled/{path.stem}", path) for path in paths if path.resolve() not in taken]
    if not found:
        raise UsageError(f"teacher.unlabelled: {place}: no pictures there but the dataset's own; expected {PICTURES}")
    return found


def teach(teacher: AnyModel, samples: Sequence[Sample], folder: Path, say: Callable[[str], None]) -> list[Maps]:
    """The teacher's maps of each picture: bytes [H, W, maps + 1], 0..254 for 0..1, probabilities and disagreement.

    Disagreement is its mutual information over the largest entropy, 0 where the teacher is a single model. They are
    kept in ``folder``, one file a picture, and taken from there when training goes on.
    """
    predictor = Predictor(teacher)
    found: list[Maps] = []
    paths = [folder / f"{sha256(str(sample.image).encode()).hexdigest()[:32]}.npy" for sample in samples]
    missing = sum(not path.is_file() for path in paths)
    if missing:
        say(f"the teacher looks at {missing} pictures")
    for sample, path in zip(samples, paths, strict=True):
        if not path.is_file():
            with atomic_path(path) as temporary:
                np.save(temporary, _taught(predictor, sample))
        found.append(np.load(path, mmap_mode="r"))
    return found


def _taught(predictor: Predictor, sample: Sample) -> Maps:
    prediction = predictor.predict(sample.image)
    largest = maximum_entropy(prediction.task, len(prediction.probabilities))
    between = np.zeros_like(prediction.entropy) if prediction.disagreement is None else prediction.disagreement
    maps = np.concatenate([prediction.probabilities, between[None] / np.float32(largest)])
    return _bytes(maps)


def mistakes(model: Model, samples: Sequence[Sample], folder: DatasetFolder) -> list[Maps]:
    """How wrong a model is on each picture: bytes [H, W, 1], 0..254 for 1 - p of the truth; 0 where nothing counts.

    Of a multilabel picture the worst of its maps counts.
    """
    predictor = Predictor(model)
    found = []
    for sample in samples:
        probabilities = predictor.predict(sample.image).probabilities
        truth = folder.read_mask(sample, probabilities.shape[1:])
        found.append(_bytes(wrongness(probabilities, truth, folder.task)[None]))
    return found


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
