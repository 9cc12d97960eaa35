"""The prediction of a dataset's picture, with its second modality where the model takes one."""

from typing import TYPE_CHECKING

from segkit.data.folder import DatasetFolder, Sample
from segkit.data.model_input import depth_for
from segkit.data.picture import open_picture
from segkit.prediction.depth import Measured
from segkit.prediction.prediction import Prediction

if TYPE_CHECKING:
    from segkit.prediction.predictor import Predictor


def predict_sample(predictor: "Predictor", folder: DatasetFolder, sample: Sample) -> Prediction:
    """Predict a picture of a dataset.

    Raises:
        DataError, ModelError, UsageError: as ``Predictor.predict``.
    """
    reader = predictor.model.reader
    if not reader.depth_channels:
        return predictor.predict(sample.image)
    picture = open_picture(sample.image, limit=predictor.limit, mpp=reader.mpp)
    depth = depth_for(folder, sample, reader, (picture.shape[0], picture.shape[1]))
    return predictor.predict(picture, depth=Measured(depth))
