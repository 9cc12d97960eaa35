"""Saved models put together as one ensemble."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from segkit.artifact import load_segmentation
from segkit.ensemble import Ensemble
from segkit.errors import ModelError, UsageError
from segkit.fitting.ways import Of, Shape
from segkit.model import Segmenter
from segkit.trusting.verdict import without_judge


def assemble(paths: Sequence[str | Path], of: Of = "probabilities") -> Ensemble:
    """One ensemble, equally weighted, of saved models; the members of a saved ensemble are taken one by one.

    ``of`` says what is averaged. A member is called after its model's folder, or after the run whose ``model`` that is;
    of an ensemble after its member. What a name can't hold becomes ``-``, and a name that is taken gets a number.

    Raises:
        UsageError: fewer than two members, or members that don't fit together.
        ModelError: not a model, or an exported one.
    """
    members = loaded(paths)
    if len(members) < 2:
        raise UsageError("an ensemble needs at least two members; name more models")
    first = next(iter(members.values()))
    combination = Shape(len(members), first.maps, first.task, first.reader.channels).mean(of=of)
    ensemble = Ensemble(list(members.values()), names=list(members), combination=combination)
    ensemble.about = common_about([member.about for member in members.values()])
    return ensemble.eval()


def common_about(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How to predict, from what is kept with the first; what all were trained on together, where that was one dataset.

    What is done to the first one's masks afterwards was found for its own and is left out.

    Args:
        members: ``about`` of each.
    """
    about: dict[str, Any] = {}
    if "predict" in members[0]:
        about["predict"] = {**members[0]["predict"], "postprocess": None}
    trained = [member.get("trained_on", {}) for member in members]
    datasets = {each.get("dataset") for each in trained}
    if len(datasets) == 1 and None not in datasets:
        splits = dict.fromkeys(split for each in trained for split in str(each.get("splits", "")).split(", "))
        chosen = dict.fromkeys(each for one in trained if one.get("chosen_on") for each in one["chosen_on"].split(", "))
        recipes = dict.fromkeys(str(each.get("recipe")) for each in trained)
        about["trained_on"] = {
            "dataset": datasets.pop(),
            "splits": ", ".join(splits),
            **({"chosen_on": ", ".join(chosen)} if chosen else {}),
            "recipe": ", ".join(recipes),
        }
    return about


def loaded(paths: Sequence[str | Path]) -> dict[str, Segmenter]:
    """Saved models by name, as :func:`assemble` names them; the members of a saved ensemble one by one.

    Raises:
        ModelError: not a model, or an exported one.
    """
    members: dict[str, Segmenter] = {}
    for path in map(Path, paths):
        model = load_segmentation(path)
        if isinstance(model, Ensemble):
            inner = cast("list[Segmenter]", list(model.members))
            for member in inner:
                of_all = {key: value for key, value in without_judge(model.about).items() if key != "fitted_on"}
                member.about = {**of_all, **member.about}
            found = dict(zip(model.names, inner, strict=True))
        elif isinstance(model, Segmenter):
            found = {name_of(path): model}
        else:
            raise ModelError(f"{path}: an exported file; an ensemble is made of the models themselves")
        for name, member in found.items():
            members[free_name(name, members)] = member
    return members


def name_of(path: Path) -> str:
    """What a member is called whose model is there: after the model's folder, or after the run whose model it is."""
    path = path.resolve()
    if path.name == "segkit.json":
        path = path.parent
    whole = path.parent.name if path.name == "model" else path.stem if path.is_file() else path.name
    return re.sub(r"^[^A-Za-z0-9]+", "", re.sub(r"[^A-Za-z0-9_-]", "-", whole)) or "member"


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or with a number where it is taken."""
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
