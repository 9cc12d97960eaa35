"""``segkit.evaluate``: the evaluation that fits the model, of masks or of labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.artifact import AnyModel, draws_masks, load
from segkit.errors import UsageError
from segkit.evaluation.report import Report
from segkit.evaluation.report import evaluate as evaluate_masks

if TYPE_CHECKING:
    from segkit.classification.prediction import LabelsImages
    from segkit.classification.report import ClassificationReport

OF_LABELS = ("precision", "batch", "device", "progress")


def evaluate(
    model: "AnyModel | LabelsImages | str | Path", data: str | Path, split: str = "test", **options: Any
) -> "Report | ClassificationReport":
    """Score a model on a split of a dataset.

    Args:
        model: a model or where one is saved; or a folder of masks.
        data: the dataset: images with masks, or, for a classifier, labelled images.
        split: which pictures; several splits are joined by ``+``.
        options: of :func:`segkit.evaluation.report.evaluate` for what draws masks, and of
            :func:`segkit.classification.report.evaluate_classifier` for a classifier.

    Raises:
        ModelError, DataError, UsageError: as these two say; an option that means nothing for a classifier.
    """
    if isinstance(model, str | Path):
        if draws_masks(model):
            return evaluate_masks(model, data, split, **options)
        model = load(model)
    from segkit.classification.prediction import LabelsImages

    if not isinstance(model, LabelsImages):
        return evaluate_masks(model, data, split, **options)
    from segkit.classification.report import evaluate_classifier

    if unknown := sorted(options.keys() - set(OF_LABELS)):
        raise UsageError(f"{unknown[0]}: is of masks; a classifier's evaluation takes {', '.join(OF_LABELS)}")
    return evaluate_classifier(model, data, split, **options)
