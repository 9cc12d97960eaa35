"""Each member's own score on held-out pictures."""

from collections.abc import Sequence

from segkit.ensemble import Ensemble
from segkit.evaluation.metrics import SegmentationMetrics, headline
from segkit.fitting.heldout import HeldOut
from segkit.labels import labels_of
from segkit.prediction.settings import settings_for


def member_scores(ensemble: Ensemble, pictures: Sequence[HeldOut]) -> tuple[dict[str, float], str]:
    """The headline score of each member, by name, at the threshold kept with the ensemble; and what score that is."""
    threshold, scores, what = settings_for(ensemble).threshold, {}, ""
    for index, name in enumerate(ensemble.names):
        metrics = SegmentationMetrics(ensemble.classes, ensemble.task, ensemble.background, threshold)
        for picture in pictures:
            labels = labels_of(picture.members[index].numpy(), ensemble.task, threshold)
            metrics.update(picture.name, labels, picture.target.numpy())
        what, scores[name] = headline(metrics.compute())
    return scores, what
