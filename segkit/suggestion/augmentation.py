"""How strongly crops are changed at random, and in which ways."""

from typing import Any

from segkit.suggestion.choice import Choice
from segkit.suggestion.facts import Facts

MANY_PASSES = 200  # over every pixel; before that, strong augmentation slows learning more than it teaches
MANY_PICTURES = 1000

Transform = dict[str, dict[str, Any]]


def augmentation(facts: Facts, *, passes: float) -> Choice:
    """The transforms for a dataset every pixel of which is seen ``passes`` times, with the reason."""
    strong = passes >= MANY_PASSES
    flip: Transform = {"HorizontalFlip": {"p": 0.5}}
    tall: Transform = {"VerticalFlip": {"p": 0.5}}
    if facts.upright or facts.sided:
        flips, turn = [flip] * (not facts.sided) + [tall] * (not facts.upright), 10
        reason = "classes lie differently " + ("above and below" if facts.upright else "left and right")
        reason += ": no quarter turns"
    else:
        flips, turn = [flip, tall], 180 if strong and facts.pictures < MANY_PICTURES else 15
        reason = "no side is favoured by any class: any way up"
    reason += f"; every pixel seen {passes:,.0f} times: {'strong' if strong else 'light'}"
    transforms = [*flips, *(_strong(facts, turn) if strong else _light(turn))]
    if facts.channels == 3 and not facts.grey and facts.volumes is None:  # channels of volumes are no colours
        shift = {"hue_shift_limit": 8, "sat_shift_limit": 20, "val_shift_limit": 12, "p": 0.5 if strong else 0.3}
        transforms.append({"HueSaturationValue": shift})
    return Choice(transforms, reason)


def _light(turn: int) -> list[Transform]:
    return [
        {"Affine": {"scale": [0.8, 1.25], "rotate": [-turn, turn], "p": 0.5}},
        {"RandomBrightnessContrast": {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 0.5}},
    ]


def _strong(facts: Facts, turn: int) -> list[Transform]:
    scale = [0.75, 1.33] if facts.pictures < MANY_PICTURES else [0.9, 1.1]
    return [
        {"Affine": {"scale": scale, "rotate": [-turn, turn], "shear": [-8, 8], "p": 0.9}},
        {"RandomBrightnessContrast": {"brightness_limit": 0.2, "contrast_limit": 0.25, "p": 0.7}},
        {"RandomGamma": {"gamma_limit": [75, 130], "p": 0.4}},
        {"GaussNoise": {"std_range": [0.01, 0.04], "p": 0.2}},
    ]
