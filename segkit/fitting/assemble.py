"""Saved models put together as one ensemble."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from segkit.artifact import load_segmentation
from segkit.ensemble import Ensemble
from segkit.errors import ModelError, UsageError
from segkit.fitting.ways import Of, Shape
from segkit.model import Segmenter
from segkit.postprocessing.settings import CHOSEN_ON
from segkit.trusting.verdict import KEY, without_judge


def assemble(paths: Sequence[str | Path], of: Of = "probabilities") -> tuple[Ensemble, list[str]]:
    """One ensemble, equally weighted, of saved models, and what is to be said of it.

    The members of a saved ensemble are taken one by one. ``of`` says what is averaged. A member is called after its
    model's folder, or after the run whose ``model`` that is; of an ensemble after its member. What a name can't hold
    becomes ``-``, and a name that is taken gets a number.

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
    notes = [*counted_twice(members), *_left_behind(members)]
    for member in members.values():
        member.about = without_judge(member.about)
    ensemble.about = common_about([member.about for member in members.values()])
    return ensemble.eval(), notes


def counted_twice(members: Mapping[str, nn.Module]) -> Iterator[str]:
    """A note for each member with the weights of one before it."""
    states: dict[str, dict[str, torch.Tensor]] = {}
    for name, member in members.items():
        state = member.state_dict()
        twin = next((each for each, other in states.items() if _equal(state, other)), None)
        if twin is not None:
            yield f"{name}: the same weights as {twin}, which so counts twice; leave one of them out"
        states[name] = state


def _equal(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        first[key].dtype == second[key].dtype and torch.equal(first[key].cpu(), second[key].cpu()) for key in first
    )


def _left_behind(members: Mapping[str, Segmenter]) -> Iterator[str]:
    """A note of what was found for single models' masks, which says nothing of the ensemble's."""
    with_steps = [name for name, each in members.items() if each.about.get("predict", {}).get("postprocess")]
    with_judge = [name for name, each in members.items() if KEY in each.about]
    for names, what, command in (
        (with_steps, "what is done to the masks afterwards", "postprocess"),
        (with_judge, "what tells good masks from bad ones", "trust"),
    ):
        if names:
            yield f"{what} is not taken over from {', '.join(names)}; segkit {command} finds it for the ensemble"


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
                of_all = {key: value for key, value in model.about.items() if key not in ("fitted_on", CHOSEN_ON)}
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
