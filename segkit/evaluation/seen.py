"""What models have seen of the pictures that something is fitted on, or that they are scored on."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, cast

from segkit.artifact import AnyModel
from segkit.data.folder import DatasetFolder, Sample
from segkit.ensemble import Ensemble
from segkit.errors import UsageError
from segkit.model import Segmenter
from segkit.postprocessing.settings import CHOSEN_ON

BY_HEART = "what is fitted there favours whoever learnt it by heart; name a split that no model has seen"


def trained_splits(about: Mapping[str, Any], dataset: str) -> list[str]:
    """The splits of a dataset that a model was trained on, by what is kept with it."""
    trained = about.get("trained_on", {})
    named = str(trained.get("splits", "")).split(", ") if trained.get("dataset") == dataset else []
    return [split for split in named if split]


def chosen_splits(about: Mapping[str, Any], dataset: str) -> set[str]:
    """The splits of a dataset on which a model's weights were chosen by their score."""
    trained = about.get("trained_on", {})
    return set(str(trained.get("chosen_on", "")).split(", ")) if trained.get("dataset") == dataset else set()


def fitted_splits(about: Mapping[str, Any], dataset: str, key: str = "fitted_on") -> set[str]:
    """The splits of a dataset on which something of a model was fitted, or chosen: what ``key`` stands for."""
    fitted = about.get(key, {})
    return set(str(fitted.get("split", "")).split("+")) if fitted.get("dataset") == dataset else set()


def weights_chosen(name: str, split: str) -> str:
    """What is to be said where something is fitted on the split by which a model's weights were chosen."""
    return (
        f"{name}: its weights were chosen by their score on {split!r}, where it now looks a little better than it is; "
        "with train.keep=last, or on another split, it doesn't"
    )


def trained_stems(about: Mapping[str, Any], folder: DatasetFolder) -> set[str]:
    """The pictures of a dataset that a model was trained on, by the splits that it has now."""
    return {stem for split in trained_splits(about, folder.name) for stem in folder.splits.get(split, ())}


def check_unseen(name: str, about: Mapping[str, Any], dataset: str, split: str) -> None:
    """Raise UsageError where a model, by what is kept with it, was trained on the split, or on one of several."""
    seen = trained_splits(about, dataset)
    for each in split.split("+"):
        if each in seen:
            raise UsageError(f"{name} was trained on split {each!r} of {dataset}: {BY_HEART}")


def check_unseen_pictures(known: Mapping[str, Mapping[str, Any]], folder: DatasetFolder, split: str) -> None:
    """Raise UsageError where a model was trained on the split, or on pictures of it that another split has too.

    Args:
        known: what is kept with each model, by name.
        folder: the dataset.
        split: what is to be fitted on; several are joined by ``+``.
    """
    for name, about in known.items():
        check_unseen(name, about, folder.name, split)
        for each in split.split("+"):
            shared = sorted(trained_stems(about, folder).intersection(folder.splits.get(each, ())))
            if shared:
                raise UsageError(
                    f"{name} was trained on {len(shared)} of the pictures in split {each!r} of {folder.name}, for "
                    f"example {shared[0]}, which is in another split too: {BY_HEART}"
                )


def seen_before(
    model: AnyModel, folder: DatasetFolder, samples: Sequence[Sample], split: str, threshold_from: str | None
) -> list[str]:
    """What makes scores look better than they will be: the model, or a member, knows the pictures that are used here.

    Args:
        model: that is scored.
        folder: the dataset.
        samples: its pictures that are scored.
        split: how they are called; several are joined by ``+``.
        threshold_from: the split that the threshold is chosen on.
    """
    notes = []
    for key, what in (("fitted_on", "the model was fitted"), (CHOSEN_ON, "the steps after it were chosen")):
        if fitted_splits(model.about, folder.name, key) & set(split.split("+")):
            notes.append(f"{what} on split {split!r} of {folder.name}: these scores favour it")
    whole, *parts = kept_with(model).items()
    of_whole = list(_seen_by(whole[1], folder, samples, split, threshold_from))
    notes += [f"the model{note}" for note in of_whole]
    for name, about in parts:
        of_part = _seen_by(about, folder, samples, split, threshold_from)
        notes += [f"member {name}{note}" for note in of_part if note not in of_whole]
    return notes


def _seen_by(
    about: Mapping[str, Any], folder: DatasetFolder, samples: Sequence[Sample], split: str, threshold_from: str | None
) -> Iterator[str]:
    """The same of one model, by what is kept with it, to stand behind what it is called."""
    names, splits = trained_splits(about, folder.name), split.split("+")
    learnt, scored = trained_stems(about, folder), {sample.name for sample in samples}
    if set(splits) & set(names):
        yield f" was trained on split {split!r} of {folder.name}: these scores say little about new images"
    elif shared := learnt & scored:
        of = f"{len(shared)} of these {len(scored)} images"
        yield f" was trained on {of}, which another split has too: these scores say little about new images"
    elif groups := shared_groups(folder, learnt, scored):
        yield f" was trained on other images of {len(groups)} groups, such as {groups[0]}: these scores favour it"
    if chosen_splits(about, folder.name) & set(splits):
        yield f"'s weights were chosen by their score on split {split!r} of {folder.name}: these scores favour them"
    if threshold_from in names:
        yield (
            f" was trained on split {threshold_from!r} of {folder.name}: the threshold chosen there fits what it has "
            "seen, not new images"
        )


def shared_groups(folder: DatasetFolder, learnt: Set[str], others: Set[str]) -> list[str]:
    """Groups, as of one patient, with pictures among both."""
    return sorted(group for group, stems in folder.groups.items() if learnt & set(stems) and others & set(stems))


def looked_at(known: Mapping[str, Mapping[str, Any]], folder: DatasetFolder, split: str) -> list[str]:
    """What is to be said where models know something of the split that is to be fitted on.

    Weights were chosen there, something was fitted there, or other pictures of its groups were trained on.

    Args:
        known: what is kept with each model, by name.
        folder, split: what is to be fitted on.
    """
    dataset, asked = folder.name, set(split.split("+"))
    notes = []
    learnt = {stem for about in known.values() for stem in trained_stems(about, folder)}
    here = {stem for each in asked for stem in folder.splits.get(each, ())}
    if groups := shared_groups(folder, learnt, here):
        notes.append(
            f"{len(groups)} groups of split {split!r}, such as {groups[0]}, have other images that were trained on: "
            "what is fitted here expects too much of new groups"
        )
    for name, about in known.items():
        notes += [weights_chosen(name, each) for each in sorted(chosen_splits(about, dataset) & asked)[:1]]
        for what, key in (
            (f"{name} itself was fitted", "fitted_on"),
            (f"the steps after {name} were chosen", CHOSEN_ON),
        ):
            if fitted_splits(about, dataset, key) & asked:
                notes.append(
                    f"{what} on split {split!r}, where it now looks a little better than it is: take another split "
                    "where there is one"
                )
    return notes


def kept_with(model: AnyModel) -> dict[str, Mapping[str, Any]]:
    """What is kept with the model, and with each of its members, whose own steps an ensemble doesn't take."""
    found: dict[str, Mapping[str, Any]] = {"the model": model.about}
    for name, member in zip(model.names, model.members, strict=True) if isinstance(model, Ensemble) else ():
        about = cast("Segmenter", member).about
        found[name] = {key: value for key, value in about.items() if key != CHOSEN_ON}
    return found
