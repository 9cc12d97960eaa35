"""The recipe that follows from a dataset's facts, the machine and the minutes; each choice with its reason."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

from segkit.recipe import DataRecipe, ModelRecipe
from segkit.suggestion.augmentation import augmentation
from segkit.suggestion.choice import Choice, Section
from segkit.suggestion.facts import Facts
from segkit.suggestion.networks import pair, single
from segkit.suggestion.volume_facts import VolumeFacts
from segkit.task import Task

Device = Literal["cpu", "cuda"]
Speed = Callable[[ModelRecipe, DataRecipe, int], float]
"""Crops a second on which a model trains, with these data settings and this batch."""

CROP = {"cpu": 256, "cuda": 512}  # largest side
TILE = {"cpu": 768, "cuda": 1536}  # largest side predicted in one piece
CROPS = 128  # at least so many an epoch
FEWEST_EPOCHS = 4  # rather than more crops an epoch: what is asked for in minutes is not exceeded
RARE = 0.05  # of all pixels
RAREST = 0.001  # below it a class gets no larger weight
LEARNING_RATE = 1e-3
SHARE_OF_MINUTES = 0.95  # for steps as fast as those measured; cutting crops beside them takes the rest
SPARE_SECONDS = 15  # for reading the pictures and saving the model
SMALL = 128  # pixels of a crop's side; smaller ones count for less
CROPS_OF_A_MEMBER = 4000  # before two networks are worth more than one trained twice as long

# Swin learns more from many small updates. Batches of 4 are too few for the statistics of a ResNet's BatchNorm where
# pictures differ in kind: nuclei dark on bright and bright on dark came out all foreground.
BATCH = {"single": 8, "pair": 4}


@dataclass(frozen=True)
class Choices:
    """A recipe's sections, in the order of the file; one member is a single model."""

    data: Section
    members: dict[str, Section]
    members_reason: str
    loss: Section
    train: Section
    predict: Section


def choose(
    facts: Facts,
    *,
    task: Task,
    splits: Mapping[str, int],
    device: Device,
    minutes: float,
    speed: Speed,
) -> Choices:
    """The choices for a dataset on a machine.

    Args:
        facts: of the pictures to train on.
        task: the dataset's.
        splits: pictures in each.
        device: what is trained on.
        minutes: for the whole training.
        speed: measures a model; called once for each model that comes into question.
    """
    data = _data(facts, splits, device)
    settings = DataRecipe.model_validate({key: choice.value for key, choice in data.items()})

    def crops(networks: dict[str, Section], batch: int) -> float:
        """How many crops each network sees; all see equally many, so the slower ones take more of the minutes."""
        values = [{key: choice.value for key, choice in network.items()} for network in networks.values()]
        speeds = [speed(ModelRecipe.model_validate(parts), settings, batch) for parts in values]
        seconds = max(minutes * 60 * SHARE_OF_MINUTES - SPARE_SECONDS, minutes * 30)
        return seconds / sum(1 / each for each in speeds)

    crop = data["crop"].value
    small = facts.volumes is not None and crop < SMALL  # slices may be of some tens of pixels
    batches = {kind: batch * (_together(crop) if small else 1) for kind, batch in BATCH.items()}
    kind, members = "pair", pair(facts)
    seen = together = crops(members, batches["pair"])
    reason = f"two kinds of network, averaged: the minutes give each {together:,.0f} crops"
    if together * ((crop / SMALL) ** 2 if small else 1) < CROPS_OF_A_MEMBER:
        kind, members = "single", single(facts)
        seen = crops(members, batches["single"])
        reason = f"one fast network: two large ones would see only {together:,.0f} crops each in the minutes"
    area = facts.median[0] * facts.median[1]
    data["augment"] = augmentation(facts, passes=seen * data["crop"].value ** 2 / (facts.pictures * area))
    crops_per_image = settings.crops_per_image
    if crops_per_image > 1 and seen < FEWEST_EPOCHS * facts.pictures * crops_per_image:
        crops_per_image = max(1, int(seen / (FEWEST_EPOCHS * facts.pictures)))
        data["crops_per_image"] = Choice(
            crops_per_image, f"the minutes give {seen:,.0f} crops, of {facts.pictures:,} pictures"
        )
    passes = seen / (facts.pictures * crops_per_image)
    epochs = round(passes) if passes > FEWEST_EPOCHS else max(1, int(passes))
    return Choices(
        data=data,
        members=members,
        members_reason=reason,
        loss=_loss(facts, task),
        train=_train(epochs, batches[kind], facts, crops_per_image, minutes, seen),
        predict=_predict(facts, device),
    )


def _together(crop: int) -> int:
    """How many small crops take the place of one of usual size in a batch."""
    return 4 if crop <= SMALL // 2 else 2


def _data(facts: Facts, splits: Mapping[str, int], device: Device) -> Section:
    data: Section = {}
    if splits.get("test") and splits.get("val"):
        data["train_on"] = Choice(
            ["train", "val"], "the last weights are kept, so none is needed to choose by; test is there to score on"
        )
        data["validate_on"] = Choice(None)
    else:
        data["train_on"] = Choice(["train"])
        data["validate_on"] = Choice("val" if splits.get("val") else None, "scored at the end; nothing is chosen by it")
    if facts.volumes is not None:
        data |= _of_volumes(facts.volumes)
    elif facts.grey:
        data["channels"] = Choice(1, "every picture is grey")
    else:
        data["channels"] = Choice(facts.channels)
    if facts.volumes is not None:
        data["window"] = _volume_window(facts.volumes)
    elif facts.window == "picture":
        data["window"] = Choice("picture", "ranges of intensities differ threefold: each picture's own becomes 0 to 1")
    elif facts.window is not None:
        rounded = [float(f"{value:.5g}") for value in facts.window]
        window = rounded if rounded[0] < rounded[1] else list(facts.window)
        data["window"] = Choice(window, f"{facts.type} pixels: the 0.1 and 99.9 percentiles become 0 and 1")
    data["normalisation"] = Choice("dataset", "weights start at random, so the pictures' own mean and deviation")
    side = min(facts.median)
    crop = max(32, min(CROP[device], (side - 1) // 32 * 32))
    data["crop"] = Choice(crop, f"a multiple of 32 below the pictures' {facts.median[1]}×{facts.median[0]}")
    area = facts.median[0] * facts.median[1]
    whole = 1 if facts.volumes is not None else ceil(area / crop**2)  # slices of a volume are much alike
    crops = max(whole, ceil(CROPS / facts.pictures))
    data["crops_per_image"] = Choice(crops, f"{facts.pictures} pictures: {facts.pictures * crops} crops an epoch")
    if facts.blank_outside:
        data["inside_roi"] = Choice(False, "nothing to see outside the region of interest: learn that, too")
    rarest = min((share for share in facts.shares if share > 0), default=1.0)
    if rarest < RARE:
        data["foreground"] = Choice(0.33, f"the rarest class has {rarest:.1%} of the pixels; a third of crops seek one")
    return data


def _of_volumes(volumes: VolumeFacts) -> Section:
    """How volumes are looked at."""
    slices = volumes.slices
    if volumes.spacing is None:
        reason = "no file says how far apart its voxels are: other planes' slices may be strips of thick ones"
    else:
        millimetres = " × ".join(f"{step:.3g}" for step in volumes.spacing)
        if len(slices.planes) > 1:
            reason = f"{millimetres} mm: slices are sharp in every plane, and three looks at a voxel are averaged"
        else:
            reason = f"{millimetres} mm: slices of other planes would be strips of thick voxels"
    if slices.spacing is not None:
        reason += "; spacings differ: brought to one"
    neighbours = 1 if len(slices.planes) == 1 else 0  # two planes beside the first tell more of what is beside a slice
    value = {"planes": list(slices.planes), "neighbours": neighbours, "spacing": slices.spacing}
    shown = volumes.channels * (2 * neighbours + 1)
    what = "a slice and those beside it" if neighbours else "a slice by itself: the other planes show what is beside it"
    return {
        "slices": Choice({key: each for key, each in value.items() if each is not None}, reason),
        "channels": Choice(shown, what + (f", each of {volumes.channels} channels" if volumes.channels > 1 else "")),
    }


def _volume_window(volumes: VolumeFacts) -> Choice:
    if volumes.window is None:
        return Choice("picture", "intensities have no unit: each volume's own 0.1 and 99.9 percentiles become 0 and 1")
    low, high = (float(f"{value:.4g}") for value in volumes.window)
    return Choice([low, high], "Hounsfield units in which what is looked for lies")


def _loss(facts: Facts, task: Task) -> Section:
    loss: Section = {
        "loss": Choice({"cross_entropy": 1.0, "dice": 1.0}, "right probabilities, and overlap, which is what is scored")
    }
    if task == "multiclass" and min(facts.shares) < RARE:
        loss["class_weights"] = _class_weights(facts)
    return loss


def _class_weights(facts: Facts) -> Choice:
    """One over the root of each class's share, where all classes count; none where most is background.

    In minutes, classes of a percent aren't learnt at all without: 19 epochs of CamVid gave a mean IoU on val of 0.45
    without and 0.60 with them. Beside a background they drew hand tools too large.
    """
    if facts.background is not None:
        reason = "Dice counts every class alike already; weights would draw rare classes too large"
        return Choice(None, reason)
    roots = [max(share, RAREST) ** -0.5 for share in facts.shares]
    mean = sum(root * share for root, share in zip(roots, facts.shares, strict=True))
    weights = [round(root / mean, 3) for root in roots]
    return Choice(weights, "one over the root of a class's share: rare ones are learnt sooner; 1 for the mean pixel")


def _train(epochs: int, batch: int, facts: Facts, per_image: int, minutes: float, seen: float) -> Section:
    updates = epochs * max(1, facts.pictures * per_image // batch)
    decay = _decay(updates)
    reason = f"{minutes:g} minutes at the speed measured here: {seen:,.0f} crops"
    one_pass = facts.pictures * per_image
    if seen < one_pass:
        needed = minutes * one_pass / max(seen, 1)
        reason += f"; one epoch is {one_pass:,}, about {needed:,.0f} minutes: fewer pictures would take less"
    return {
        "epochs": Choice(epochs, reason),
        "batch": Choice(batch, "the minutes are the limit, not the memory: no larger than the network needs"),
        "learning_rate": Choice(LEARNING_RATE),
        "weight_decay": Choice(0.02),
        "ema": Choice(decay, f"averages about the last {1 / (1 - decay):.0f} of {updates:,} updates"),
        "keep": Choice("last", "the schedule ends at zero: the last averaged weights are the best guess"),
    }


def _decay(updates: int) -> float:
    """An average over about a tenth of the updates, at most 2,000."""
    return round(1 - 1 / min(2000, max(20, updates / 10)), 4)


def _predict(facts: Facts, device: Device) -> Section:
    tile = Choice(TILE[device] // 2 if device == "cpu" else TILE[device])
    if max(facts.median) <= TILE[device]:
        tile = Choice(TILE[device], "most pictures fit in one piece")
    # A view of a kind that was never trained on would only blur the mean.
    if facts.sided:
        return {"tile": tile}
    if facts.upright:
        return {"tile": tile, "tta": Choice("mirror", "the picture and its mirror image averaged")}
    return {"tile": tile, "tta": Choice("flip", "four flips averaged")}
