"""Each member's own score on held-out pictures."""

from collections.abc import Sequence

from segkit.ensemble import Ensemble
from segkit.evaluation.metrics import SegmentationMetrics, headline
from segkit.fitting.heldout import HeldOut
from segkit.labels import labels_of, threshold_at
from segkit.prediction.settings import settings_for


def member_scores(ensemble: Ensemble, pictures: Sequence[HeldOut]) -> tuple[dict[str, float], str]:
    """The headline score of each member, by name, and what score that is.

    It is taken at the threshold kept with the ensemble as it is before the whole's temperature, which members lack.
    """
    threshold = threshold_at(settings_for(ensemble).threshold, 1 / ensemble.temperature)
    scores, what = {}, ""
    for index, name in enumerate(ensemble.names):
        metrics = SegmentationMetrics(ensemble.classes, ensemble.task, ensemble.background, threshold)
        for picture in pictures:
            labels = labels_of(picture.members[index].numpy(), ensemble.task, threshold)
            metrics.update(picture.name, labels, picture.target.numpy())
        what, scores[name] = headline(metrics.compute())
    return scores, what
