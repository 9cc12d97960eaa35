"""The networks that a recipe suggests: one for minutes, two for hours."""

from segkit.suggestion.choice import Choice, Section
from segkit.suggestion.facts import Facts

THIN = 6.0  # pixels; thinner things need maps finer than a backbone's


def single(facts: Facts) -> dict[str, Section]:
    """One fast network: in minutes, steps teach more than parameters.

    A ResNet18 under a narrow U-Net takes 1.7 times the steps of a ResNet34 under the usual one. For thin things a plain
    U-Net from full resolution on: two convolutions at every stride were worth more on vessels than a deep encoder.
    """
    if facts.width is not None and facts.width < THIN:
        reason = f"structures about {facts.width:.0f} pixels wide: a plain U-Net from full resolution on"
        backbone = Choice({"name": "stem", "width": 24, "depth": 5}, reason)
        widths = [24, 48, 96, 192]
    else:
        backbone = Choice("resnet18", "nothing thin: maps at half resolution are fine enough")
        widths = [32, 48, 64, 128]
    return {"model": {"backbone": backbone, "neck": Choice({"name": "unet", "widths": widths})}}


def pair(facts: Facts) -> dict[str, Section]:
    """Two networks of different kinds, to be averaged."""
    auxiliary = Choice(2, "coarser maps learn to say the same, which speeds training up")
    return {
        "swin_fpn": {
            "backbone": Choice({"name": "swin_tiny", "drop_path": 0.0}),
            "stem": _stem(facts, 32),
            "neck": Choice({"name": "fpn", "width": 48}),
            "auxiliary": auxiliary,
        },
        "resnet50_unet": {
            "backbone": Choice("resnet50"),
            "stem": _stem(facts, 32),
            "neck": Choice("unet"),
            "auxiliary": auxiliary,
        },
    }


def _stem(facts: Facts, width: int) -> Choice:
    if facts.width is not None and facts.width < THIN:
        return Choice(width, f"structures about {facts.width:.0f} pixels wide: learned maps at full resolution")
    return Choice(False, "nothing thin: the backbone's own maps are fine enough")
