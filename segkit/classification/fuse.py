"""Classifiers trained one by one, put together in several ways on one dataset: late fusion and early fusion."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from segkit.classification.classifier import Classifier
from segkit.classification.ensemble import ClassifierEnsemble
from segkit.classification.fusion import Weights, fit_fusion, kept_temperature
from segkit.classification.joint import JointClassifier
from segkit.classification.joint_training import Features, train_head
from segkit.classification.member_features import MemberFeatures, placed
from segkit.classification.member_fit import check_data, check_members
from segkit.devices import default_device, named_device
from segkit.errors import UsageError
from segkit.evaluation.seen import chosen_splits, weights_chosen
from segkit.fitting.assemble import common_about, counted_twice
from segkit.fitting.temperature import at_ends
from segkit.fitting.ways import Of
from segkit.labelled.augmentation import Augmentation
from segkit.labelled.images import LabelledImages
from segkit.progress import Progress

Way = Weights | Literal["early"]
WAYS: tuple[Way, ...] = (*get_args(Weights), "early")


@dataclass(frozen=True)
class Fused:
    """Classifiers put together in one way, and what was found on the way.

    Attributes:
        model: an ensemble, or, of early fusion, a joint classifier; its members are those given.
        scores: top-1 of each member alone on the split it was fitted on, by name.
        notes: what is to be said.
    """

    model: ClassifierEnsemble | JointClassifier
    scores: dict[str, float]
    notes: tuple[str, ...]


def fuse(
    members: Mapping[str, Classifier],
    data: LabelledImages,
    ways: Sequence[Way] = WAYS,
    *,
    split: str = "val",
    train: str = "train",
    of: Of = "probabilities",
    temperature: bool = True,
    augment: Augmentation | None = None,
    views: int = 4,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> dict[Way, Fused]:
    """Put classifiers together in each of the ways, by its name; every image is shown to every member once.

    ``uniform``, ``score``, ``member`` and ``class`` are late fusion, see
    :func:`segkit.classification.fusion.fit_fusion`. ``early`` trains a joint head on the members' features of the
    ``train`` split, see :func:`segkit.classification.joint_training.train_head`; it freezes the members in place.

    Args:
        members: trained classifiers of the dataset's classes, by name.
        data: the dataset, as :func:`segkit.labelled.opening.open_labelled` makes it of a path.
        ways: which.
        split: what weights and temperatures are fitted on, and the joint head's epoch is chosen by; no member was
            trained on it.
        train: what the joint head is trained on.
        of: what late fusion averages.
        temperature: fit temperatures too.
        augment: the joint head also sees the training images augmented.
        views: so many times each, beside the one time as it is; without ``augment`` there are none.
        seed: of all draws.
        device: where features are computed; None: on a GPU if there is one. The members go back afterwards.
        progress: called after each batch of images with the number done, that of all, and what is done.

    Raises:
        UsageError: fewer than two members, members that don't fit together, an unknown way, or a split that members
            were trained on.
        ModelError: members of other classes than the dataset, or with features that are not finite.
        DataError: an image that can't be used, or no such split.
    """
    names, models = tuple(members), list(members.values())
    _check(members, data, ways, split, views)
    if "early" in ways and set(split.split("+")) & set(train.split("+")):
        raise UsageError(
            f"split={split!r}, train={train!r}: the joint head's epoch is chosen on other images than it learns"
        )
    passes = 1 + (views if augment is not None else 0)  # over the training images
    total = len(data.indices(*split.split("+")))
    if "early" in ways:
        total += passes * len(data.indices(*train.split("+")))
    done = 0

    def tell(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, total, "features")

    where = named_device(device) if device is not None else default_device()
    asked = MemberFeatures(models, data, device=where, progress=tell)
    features, target = asked.of(split)
    with torch.no_grad(), placed(models, torch.device("cpu")):  # where the features are
        logits = torch.stack([model.head(each) for model, each in zip(models, features, strict=True)])  # [M, N, K]
    scores = dict(zip(names, (logits.argmax(2) == target).double().mean(1).tolist(), strict=True))
    fitted_on = {"dataset": data.name, "split": split, "images": len(target), "temperature": temperature}

    found: dict[Way, Fused] = {}
    twice = list(counted_twice(members))
    for way in ways:
        model: ClassifierEnsemble | JointClassifier
        if way == "early":
            plain, labels = asked.of(train)
            more = [asked.augmented(train, augment, seed=seed, view=view) for view in range(views) if augment]
            seen = [torch.stack([each, *(other[i] for other in more)]) for i, each in enumerate(plain)]  # [V, N, D]
            held_out = Features([each[None] for each in features], target)
            model, note = _early(models, names, Features(seen, labels), held_out, temperature, seed)
            how: dict[str, Any] = {"weights": way, "head trained on": train, "views": passes}
        else:
            fusion = fit_fusion(logits, target, weights=way, of=of, temperature=temperature, seed=seed)
            model, note = fusion.ensemble(models, names), "" if fusion.verdict is None else fusion.verdict.reason
            how = {"weights": way, "of": of}
            if fusion.verdict is not None:
                how["kept"] = fusion.verdict.best != "plain"
        model.about = {**common_about([each.about for each in models]), "fitted_on": {**fitted_on, **how}}
        if way == "early":
            trained = model.about.get("trained_on", {"dataset": data.name})
            if trained["dataset"] == data.name:
                splits = dict.fromkeys([*filter(None, trained.get("splits", "").split(", ")), *train.split("+")])
                model.about["trained_on"] = {**trained, "splits": ", ".join(splits)}
        said = [f"{way}: {note}"] if note else []
        if isinstance(model, ClassifierEnsemble):
            said += [*at_ends(dict(zip(names, model.temperatures, strict=True)), model.temperature), *twice]
        else:
            said += at_ends({}, model.temperature)
        found[way] = Fused(model.eval(), scores, (*said, *_chosen_there(members, data.name, split)))
    return found


def _chosen_there(members: Mapping[str, Classifier], dataset: str, split: str) -> Iterator[str]:
    """What is to be said of members whose weights were chosen where the ensemble is fitted now."""
    for name, member in members.items():
        for each in sorted(chosen_splits(member.about, dataset).intersection(split.split("+")))[:1]:
            yield weights_chosen(name, each)


def _early(
    models: Sequence[Classifier],
    names: Sequence[str],
    train: Features,
    held_out: Features,
    temperature: bool,
    seed: int,
) -> tuple[JointClassifier, str]:
    """The classifiers under a joint head, trained and at its temperature; and what is to be said."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = JointClassifier(models, names=names)
    top = model.joint.top
    trained = train_head(top, train, held_out, seed=seed)
    if temperature:
        with torch.no_grad():
            logits = top([views[0] for views in held_out.views])
        model.temperature = kept_temperature(logits, held_out.target, seed=seed)
    loss = trained.losses[trained.epoch - 1]
    return (
        model,
        f"loss on images it wasn't trained on {loss:.4f}, the least of {len(trained.losses)} epochs (after epoch "
        f"{trained.epoch})",
    )


def _check(
    members: Mapping[str, Classifier], data: LabelledImages, ways: Sequence[Way], split: str, views: int
) -> None:
    for way in ways:
        if way not in WAYS:
            raise UsageError(f"way {way!r}: expected of {', '.join(WAYS)}")
    if len(members) < 2:
        raise UsageError("an ensemble needs at least two members; name more models")
    if views < 0:
        raise UsageError(f"views={views}: expected 0 or more")
    check_members(list(members.values()), tuple(members))
    for name, model in members.items():
        check_data(name, model, data, unseen=split)
