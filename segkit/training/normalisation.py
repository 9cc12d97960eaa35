"""What images and depth are normalised by before a network sees them, as a recipe asks for it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from segkit.data.folder import DatasetFolder, Sample
from segkit.data.normalisation import depth_statistics
from segkit.errors import RecipeError
from segkit.model_arguments import IMAGENET_MEAN, IMAGENET_STD
from segkit.second_modality import usual_encoding

Normalisation = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each channel."""


def image_normalisation(
    asked: Literal["dataset", "imagenet", "none"], channels: int, measure: Callable[[], Normalisation]
) -> Normalisation:
    """Mean and standard deviation of each channel in 0..1.

    Args:
        asked: the recipe's ``data.normalisation``.
        channels: of the images.
        measure: gives those of the images to train on.

    Raises:
        RecipeError: ImageNet's, but not three channels.
    """
    if asked == "dataset":
        return measure()
    if asked == "none":
        return (0.0,) * channels, (1.0,) * channels
    if channels != 3:
        raise RecipeError(f"data.normalisation=imagenet is for 3 channels, not {channels}; use dataset")
    return IMAGENET_MEAN, IMAGENET_STD


def depth_encoding(
    asked: Mapping[str, Any] | None,
    samples: Sequence[Sample],
    folder: DatasetFolder,
    *,
    size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Name and options of what is made of depth, with what is measured of it on the pictures to train on.

    Args:
        asked: the recipe's name and options; None chooses by the unit.
        samples: the pictures.
        folder: the dataset, whose description says what depth means.
        size: (height, width) that whole pictures are brought to; None: they aren't.

    Raises:
        DataError: nothing can be measured.
    """
    metric = folder.depth_format is not None and folder.depth_format.metric
    options: dict[str, Any] = dict(asked) if asked is not None else {"name": usual_encoding(metric)}
    if not options.get("per_picture"):
        mean, std = depth_statistics(samples, folder, inverse=options["name"] == "inverse", size=size)
        options = {"mean": mean, "std": std, **options}
    if options["name"] == "normals" and folder.intrinsics is not None:
        options.setdefault("focal", [folder.intrinsics.fx, folder.intrinsics.fy])
    return options
