"""The prediction of a dataset's picture, volume or slice, with its second modality where the model takes one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segkit.artifact.kinds import check_draws_masks
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.model_input import depth_for
from segkit.data.picture import begins_as_tiff, open_picture
from segkit.data.scaled import Scaled, scaled
from segkit.errors import ModelError, UsageError
from segkit.postprocessing.targets import Spacing, of_picture
from segkit.prediction.depth import Measured
from segkit.prediction.prediction import Prediction
from segkit.prediction.protocol import Model
from segkit.prediction.volume_maps import tall_scaled

if TYPE_CHECKING:
    from segkit.data.reader import Reader
    from segkit.prediction.predictor import Predictor
    from segkit.prediction.volume_prediction import VolumePrediction


def predict_sample(predictor: "Predictor", folder: DatasetFolder, sample: Sample) -> Prediction:
    """Predict a picture of a dataset, a volume, whose voxels come as one tall picture, or a slice as part of it.

    Raises:
        DataError, ModelError, UsageError: as ``Predictor.predict``.
    """
    reader = predictor.model.reader
    if sample.volume:
        whole = predictor.predict_case(sample.image)
        return whole.flat if sample.plane is None else _slice(whole, sample)
    if not reader.depth_channels:
        return predictor.predict(sample.image)
    picture = open_picture(sample.image, limit=predictor.limit, mpp=reader.mpp)
    depth = depth_for(folder, sample, reader, (picture.shape[0], picture.shape[1]))
    return predictor.predict(picture, depth=Measured(depth))


def check_fit(model: Model, folder: DatasetFolder) -> None:
    """Raise ModelError where the model's ids don't mean what the dataset's do; a binary foreground may be renamed.

    What is no model, such as the path of one, is a UsageError.
    """
    if isinstance(model, str | Path):
        raise UsageError(f"{str(model)!r}: expected a model that draws masks, as segkit.load gives it")
    check_draws_masks(model)
    if model.task != folder.task:
        raise ModelError(f"the model's task is {model.task}, that of {folder.name} is {folder.task}")
    swapped = sorted(model.classes) == sorted(folder.classes)
    if model.classes != folder.classes and (model.task != "binary" or swapped):
        theirs, ours = ", ".join(model.classes), ", ".join(folder.classes)
        raise ModelError(f"the model's classes are {theirs}, those of {folder.name} {ours}; names and order must agree")


def spacing_of(predictor: "Predictor", sample: Sample) -> Spacing | None:
    """The spacing of a dataset's picture as it is predicted; None where nobody knows it."""
    mpp = predictor.model.reader.mpp
    own = open_picture(sample.image, limit=predictor.limit, mpp=mpp).mpp if begins_as_tiff(sample.image) else None
    return of_picture(own, mpp)


def seen_of(folder: DatasetFolder, sample: Sample, reader: "Reader") -> Scaled:
    """A picture of a dataset as a reader's model sees it, by rows; of a volume its voxels as one tall picture."""
    if sample.volume:
        return tall_scaled(folder.cases.case(sample, reader))
    return scaled(open_picture(sample.image, mpp=reader.mpp), reader, str(sample.image))


def _slice(whole: "VolumePrediction", sample: Sample) -> Prediction:
    """What is said of a slice, at the volume's own spacing."""
    assert sample.plane is not None
    turn, index = whole.volume.geometry.turn(sample.plane), sample.index

    def cut(maps: NDArray[Any]) -> NDArray[Any]:
        grids = maps.reshape(-1, *whole.volume.geometry.shape)
        found = np.stack([turn.of(grid)[index] for grid in grids])
        return found.reshape(*maps.shape[:-3], *found.shape[1:])

    picture = np.ascontiguousarray(turn.of(whole.case.values)[index])
    flat = whole.flat
    return Prediction(
        name=sample.name,
        labels=cut(np.asarray(whole.labels)),
        probabilities=cut(np.asarray(whole.probabilities)),
        entropy=cut(np.asarray(whole.entropy)),
        disagreement=None if whole.disagreement is None else cut(np.asarray(whole.disagreement)),
        classes=whole.classes,
        task=whole.task,
        background=whole.background,
        palette=whole.palette,
        scaled=Scaled(sample.name, picture.shape[:2], picture, flat.scaled.reader),
        source=whole.source,
    )
