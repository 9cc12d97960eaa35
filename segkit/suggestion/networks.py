"""The networks that a recipe suggests: one for minutes, two for hours."""

from segkit.suggestion.choice import Choice, Section
from segkit.suggestion.facts import Facts

THIN = 6.0  # pixels; thinner things need maps finer than a backbone's


def single(facts: Facts) -> dict[str, Section]:
    """One network that takes twice the steps a minute of a ResNet34 U-Net of the usual widths.

    In minutes, steps teach more than parameters.
    """
    thin = _thin(facts)
    widths = [32, 48, 64, 128]
    return {
        "model": {
            "backbone": Choice("resnet18"),
            "stem": _stem(facts, 16),
            "neck": Choice({"name": "unet", "widths": [16, *widths] if thin else widths}),
        }
    }


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


def _thin(facts: Facts) -> bool:
    return facts.width is not None and facts.width < THIN


def _stem(facts: Facts, width: int) -> Choice:
    if _thin(facts):
        return Choice(width, f"structures about {facts.width:.0f} pixels wide: learned maps at full resolution")
    return Choice(False, "nothing thin: the backbone's own maps are fine enough")
