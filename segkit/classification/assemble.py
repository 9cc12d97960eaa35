"""Saved classifiers put together as one ensemble."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from segkit.artifact import load
from segkit.classification.classifier import Classifier
from segkit.classification.ensemble import ClassifierEnsemble
from segkit.classification.joint import JointClassifier
from segkit.errors import ModelError, UsageError
from segkit.fitting.assemble import common_about, counted_twice, free_name, name_of
from segkit.fitting.ways import Of, Shape


def loaded(paths: Sequence[str | Path]) -> dict[str, Classifier]:
    """Saved classifiers by name, as :func:`segkit.fitting.assemble.assemble` names them.

    Of an ensemble, or of classifiers under a joint head, the members one by one.

    Raises:
        ModelError: no classifier.
    """
    members: dict[str, Classifier] = {}
    for path in map(Path, paths):
        model: object = load(path)
        if isinstance(model, ClassifierEnsemble | JointClassifier):
            found = dict(zip(model.names, cast("list[Classifier]", list(model.members)), strict=True))
        elif isinstance(model, Classifier):
            found = {name_of(path): model}
        else:
            raise ModelError(f"{path}: no classifier; an ensemble's members all draw masks, or all give images a label")
        for name, member in found.items():
            members[free_name(name, members)] = member
    return members


def assemble(paths: Sequence[str | Path], of: Of = "probabilities") -> tuple[ClassifierEnsemble, list[str]]:
    """One ensemble, equally weighted, of saved classifiers, and what is to be said; ``of`` says what is averaged.

    Raises:
        UsageError: fewer than two members, or members that don't fit together.
        ModelError: no classifier.
    """
    members = loaded(paths)
    if len(members) < 2:
        raise UsageError("an ensemble needs at least two members; name more models")
    first = next(iter(members.values()))
    combination = Shape(len(members), len(first.classes), "multiclass", first.channels).mean(of=of)
    ensemble = ClassifierEnsemble(list(members.values()), names=list(members), combination=combination)
    ensemble.about = common_about([member.about for member in members.values()])
    return ensemble.eval(), list(counted_twice(members))
