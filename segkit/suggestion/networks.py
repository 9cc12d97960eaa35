"""The networks that a recipe suggests: one for minutes, two for hours."""

from segkit.suggestion.choice import Choice, Section
from segkit.suggestion.facts import Facts

THIN = 6.0  # pixels; thinner things need maps finer than a backbone's
WIDTHS_OF_THIN = [24, 48, 96, 192]


def single(facts: Facts) -> dict[str, Section]:
    """One fast network: in minutes, steps teach more than parameters.

    A ResNet18 under a narrow U-Net takes 1.7 times the steps of a ResNet34 under the usual one. For thin things a plain
    U-Net from full resolution on: two convolutions at every stride were worth more on vessels than a deep encoder.
    """
    plain = _from_full_resolution(facts)
    if plain is not None:
        return {"model": {"backbone": plain, "neck": Choice({"name": "unet", "widths": WIDTHS_OF_THIN})}}
    backbone = Choice("resnet18", "nothing thin: maps at half resolution are fine enough")
    return {"model": {"backbone": backbone, "neck": Choice({"name": "unet", "widths": [32, 48, 64, 128]})}}


def pair(facts: Facts) -> dict[str, Section]:
    """Two networks of different kinds, to be averaged."""
    plain = _from_full_resolution(facts)
    if plain is not None:
        necks = ("unet", "attention_unet")
        return {n: {"backbone": plain, "neck": Choice({"name": n, "widths": WIDTHS_OF_THIN})} for n in necks}
    auxiliary = Choice(2, "coarser maps learn to say the same, which speeds training up")
    fine = Choice(False, "nothing thin: the backbone's own maps are fine enough")
    return {
        "swin_fpn": {
            "backbone": Choice({"name": "swin_tiny", "drop_path": 0.0}),
            "stem": fine,
            "neck": Choice({"name": "fpn", "width": 48}),
            "auxiliary": auxiliary,
        },
        "resnet50_unet": {
            "backbone": Choice("resnet50"),
            "stem": fine,
            "neck": Choice("unet"),
            "auxiliary": auxiliary,
        },
    }


def _from_full_resolution(facts: Facts) -> Choice | None:
    """The backbone for thin things; None where nothing is thin."""
    if facts.width is None or facts.width >= THIN:
        return None
    reason = f"structures about {facts.width:.0f} pixels wide: a plain U-Net from full resolution on"
    return Choice({"name": "stem", "width": WIDTHS_OF_THIN[0], "depth": 5}, reason)
