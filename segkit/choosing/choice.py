"""Steps chosen on cases with masks: each is kept only where it helps."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from segkit.choosing import candidates
from segkit.choosing.candidates import STEPS, Change, Step
from segkit.choosing.judging import Ruling, Scores, class_means, mean_dice, rule
from segkit.data.masks import Ids
from segkit.evaluation.metrics import SegmentationMetrics
from segkit.evaluation.scores import overlap_scores
from segkit.labels import labels_of
from segkit.postprocessing.labelling import Maps, smoothed
from segkit.postprocessing.settings import EVERY, Postprocessing
from segkit.postprocessing.steps import postprocess
from segkit.postprocessing.targets import Scale, Spacing, foreground
from segkit.task import Task

Dice = dict[str, float | None]
"""Mean over the cases, by class; None where the class is in no truth and no prediction."""


@dataclass(frozen=True, eq=False)
class Case:
    """A prediction with the truth.

    Attributes:
        name: of the case.
        probabilities: float32 [K, H, W] or [K, I, J, L].
        truth: uint8 [H, W] or [I, J, L], for multilabel with K in front; 255 is not counted.
        spacing: mm between pixels along each axis; None where it isn't known.
        group: of cases that belong together, such as a patient's; None: the case is alone.
    """

    name: str
    probabilities: Maps
    truth: Ids
    spacing: Spacing | None = None
    group: str | None = None


@dataclass(frozen=True)
class Trial:
    """What came of a step for a class.

    Attributes:
        step: which.
        name: the class's; ``*`` for smoothing, which is of all.
        value: the best of those tried, as in the recipe.
        tried: all of them.
        before, after: Dice of every class without and with it.
        mean_before, mean_after: their means, a class that is rightly not found anywhere as 1.
        kept: whether it is kept.
        reason: why, or why not.
    """

    step: Step
    name: str
    value: str
    tried: tuple[str, ...]
    before: Dice
    after: Dice
    mean_before: float
    mean_after: float
    kept: bool
    reason: str


@dataclass(frozen=True)
class Choice:
    """The steps that help.

    Attributes:
        settings: they; without any where none does.
        trials: what was tried, in order.
        before, after: Dice of every class without and with all that is kept.
        cases: how many.
    """

    settings: Postprocessing
    trials: tuple[Trial, ...]
    before: Dice
    after: Dice
    cases: int


def choose(
    cases: Callable[[], Iterable[Case]],
    *,
    task: Task,
    classes: Sequence[str],
    background: int | None,
    threshold: float = 0.5,
) -> Choice:
    """Try the steps in their order, each upon those kept so far; :func:`segkit.choosing.judging.rule` says which.

    Smoothing is tried for all classes together, the other steps for each class by itself. Of a multiclass task without
    background only smoothing and thresholds are tried.

    Args:
        cases: gives them anew at each call, in the same order; it is called :func:`passes` times, or fewer. One case
            is held at a time.
        task: binary, multilabel or multiclass.
        classes: names by label.
        background: the label that is background, if any.
        threshold: probability from which a pixel is foreground where its class has no threshold of its own.

    Raises:
        DataError: a truth of another shape than its probabilities, or with values that are no class.
    """
    search = _Search(cases, task, tuple(classes), background, threshold)
    settings, trials = Postprocessing(), []
    before = search.dice(settings, [])[0]
    for step in STEPS:
        for names in search.rounds(step):
            changes = search.changes(step, names, settings)
            listed = [change for own in changes.values() for change in own]
            if not listed:
                continue
            plain, *changed = search.dice(settings, listed)
            by_change = dict(zip(listed, changed, strict=True))
            for own in filter(None, changes.values()):
                ruling = rule(plain, np.stack([by_change[change] for change in own]), search.units)
                trials.append(search.trial(own, ruling, plain, by_change[own[ruling.best]]))
                settings = own[ruling.best].added_to(settings) if ruling.kept else settings
    after = search.dice(settings, [])[0] if settings.steps else before
    return Choice(settings, tuple(trials), search.by_class(before), search.by_class(after), len(before))


def passes(task: Task, classes: int) -> int:
    """How often all cases are asked for, at most."""
    return 8 + (classes if task == "multiclass" else 1)


class _Search:
    """The cases, and what is asked of them."""

    def __init__(
        self,
        cases: Callable[[], Iterable[Case]],
        task: Task,
        classes: tuple[str, ...],
        background: int | None,
        threshold: float,
    ) -> None:
        self._cases, self._task, self._classes, self._background = cases, task, classes, background
        self._threshold = threshold
        self._known = foreground(task, classes, background)
        self._axes = 2
        self._finest: list[float | None] = []  # distances of pixels, of each case
        self.units: NDArray[np.int64] = np.zeros(0, np.int64)

    def rounds(self, step: Step) -> list[list[str]]:
        """Classes that are tried together: those of which none changes another's pixels."""
        if step == "smoothing":
            return [[EVERY]]
        if step != "thresholds" and self._task == "multiclass" and self._background is None:
            return []
        names = list(self._known)
        return [[name] for name in names] if step == "thresholds" and self._task == "multiclass" else [names]

    def changes(self, step: Step, names: list[str], settings: Postprocessing) -> dict[str, list[Change]]:
        """What is tried of a step for each class, the mildest first."""
        known = [each for each in self._finest if each is not None]
        if step == "smoothing":
            return {EVERY: candidates.deviations(float(np.median(known)) if len(known) == len(self._finest) else None)}
        if step == "thresholds":
            count, before = len(self._classes), self._threshold
            return {name: candidates.thresholds(name, self._task, count, before) for name in names}
        if step == "largest":
            return {name: candidates.largest(name) for name in names}
        unit = f"mm{self._axes}" if len(known) == len(self._finest) else "px"
        found: dict[str, list[list[float]]] = {name: [] for name in names}
        for case in self._cases():
            labels = self._labels(case, case.probabilities, settings)
            pixel = prod(case.spacing) if case.spacing is not None and unit != "px" else 1.0
            for name in names:
                sizes = candidates.size_quantiles(step, *self._of_class(labels, name), pixel)
                found[name] += [sizes] if sizes else []
        return {name: candidates.sizes(step, name, each, unit) for name, each in found.items()}

    def dice(self, settings: Postprocessing, changes: Sequence[Change]) -> Scores:
        """Dice of each case and class with settings, and with each change of them too, [1 + changes, N, K]."""
        found, groups = [], []
        self._finest = []
        for case in self._cases():
            found.append(self._of_case(case, settings, changes))
            groups.append(("case", case.name) if case.group is None else ("group", case.group))
            self._finest.append(None if case.spacing is None else min(case.spacing))
            self._axes = case.probabilities.ndim - 1
        numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
        self.units = np.array([numbers[group] for group in groups], np.int64)
        return np.stack(found, axis=1)

    def trial(self, own: list[Change], ruling: Ruling, before: Scores, after: Scores) -> Trial:
        """What is told of a class's changes."""
        best = own[ruling.best]
        return Trial(
            best.step,
            best.name,
            best.said,
            tuple(change.said for change in own),
            self.by_class(before),
            self.by_class(after),
            mean_dice(before),
            mean_dice(after),
            ruling.kept,
            ruling.reason,
        )

    def by_class(self, dice: Scores) -> Dice:
        """Means over the cases, by class."""
        means = class_means(dice).tolist()
        return {name: None if np.isnan(mean) else mean for name, mean in zip(self._known, means, strict=True)}

    def _of_case(self, case: Case, settings: Postprocessing, changes: Sequence[Change]) -> Scores:
        """Dice of one case, [1 + changes, K]; what the changes have in common is done once."""
        maps, beneath = case.probabilities, settings
        if settings.smoothing and changes and changes[0].step == "thresholds":
            scale = Scale(maps.shape[1:], case.spacing)
            maps = smoothed(maps, scale.deviations(settings.smoothing), slice(0, maps.shape[1]))
            beneath = settings.without("smoothing")
        labels = self._labels(case, maps, beneath)
        rows = [self._scored(case, labels)]
        for change in changes:
            if change.step in ("smoothing", "thresholds"):
                found = self._labels(case, maps, change.added_to(beneath))
            else:
                found = self._after(case, None, labels, change.added_to(Postprocessing()))
            rows.append(self._scored(case, found))
        return np.stack(rows)

    def _labels(self, case: Case, maps: Maps, settings: Postprocessing) -> Ids:
        return self._after(case, maps, labels_of(maps, self._task, self._threshold), settings)

    def _after(self, case: Case, maps: Maps | None, labels: Ids, settings: Postprocessing) -> Ids:
        return postprocess(
            maps,
            labels,
            settings=settings,
            task=self._task,
            classes=self._classes,
            background=self._background,
            spacing=case.spacing,
            threshold=self._threshold,
        )

    def _of_class(self, labels: Ids, name: str) -> tuple[Ids, int, int]:
        """Where a class is found: labels, its own, and the background's."""
        if self._task == "multilabel":
            return labels[self._known[name]], 1, 0
        if self._task == "binary" or self._background is None:
            return labels, 1, 0
        return labels, self._known[name], self._background

    def _scored(self, case: Case, labels: Ids) -> Scores:
        """Dice of each class, [K]; NaN where it is in neither truth nor prediction."""
        metrics = SegmentationMetrics(self._classes, self._task, self._background)
        lead = labels.ndim - case.probabilities.ndim + 1
        found, truth = (
            each if each.ndim == 2 + lead else each.reshape(*each.shape[:lead], -1, each.shape[-1])
            for each in (labels, case.truth)
        )
        counts = metrics.update(case.name, found, truth)
        return overlap_scores(counts, metrics.kept)["dice"][metrics.kept]
