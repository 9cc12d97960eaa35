"""Random augmentation of a picture and its mask together: albumentations by name, behind this one module."""

import inspect
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2

from segkit.data.masks import IGNORE
from segkit.errors import RecipeError
from segkit.nearest import nearest

if TYPE_CHECKING:
    import albumentations

Spec = Mapping[str, Mapping[str, Any] | None]

TURNED: list[Spec] = [{"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}, {"RandomRotate90": {"p": 1.0}}]

AUGMENTATIONS: dict[str, list[Spec]] = {
    "none": [],
    # Keeps up and down: streets, rooms, people.
    "light": [
        {"HorizontalFlip": {"p": 0.5}},
        {"Affine": {"scale": [0.9, 1.1], "rotate": [-10, 10], "p": 0.5}},
        {"RandomBrightnessContrast": {"brightness_limit": 0.15, "contrast_limit": 0.15, "p": 0.5}},
    ],
    # Any way up: microscopes, retinas, aerial pictures.
    "medium": [
        *TURNED,
        {"Affine": {"scale": [0.8, 1.25], "rotate": [-45, 45], "shear": [-8, 8], "p": 0.7}},
        {"RandomBrightnessContrast": {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 0.5}},
        {"RandomGamma": {"gamma_limit": [70, 140], "p": 0.3}},
        {"HueSaturationValue": {"hue_shift_limit": 8, "sat_shift_limit": 20, "val_shift_limit": 10, "p": 0.3}},
    ],
    "strong": [
        *TURNED,
        {"Affine": {"scale": [0.7, 1.4], "rotate": [-45, 45], "shear": [-12, 12], "p": 0.8}},
        {"ElasticTransform": {"alpha": 60, "sigma": 8, "approximate": True, "p": 0.3}},
        {"RandomBrightnessContrast": {"brightness_limit": 0.3, "contrast_limit": 0.3, "p": 0.7}},
        {"RandomGamma": {"gamma_limit": [60, 160], "p": 0.4}},
        {"HueSaturationValue": {"hue_shift_limit": 15, "sat_shift_limit": 30, "val_shift_limit": 15, "p": 0.5}},
        {"GaussianBlur": {"sigma_limit": [0.3, 1.5], "blur_limit": 0, "p": 0.2}},
        {"GaussNoise": {"std_range": [0.01, 0.05], "p": 0.3}},
    ],
}
"""Ready-made lists, as they would stand in a recipe."""

MARGIN = 1.5  # of the crop's side: a turn by 45° needs √2
GROUPS = ("OneOf", "SomeOf", "Sequential", "RandomOrder")
QUARTER_TURNS = ("RandomRotate90", "Transpose", "D4", "SquareSymmetry")
STAYS = ("HorizontalFlip", "VerticalFlip", "NoOp", "Morphological", "RandomGridShuffle")  # needs nothing from outside
RESHAPES = "Morphological"
THREE_CHANNELS = ("HueSaturationValue",)


def build_augmentation(
    specs: str | Sequence[Spec],
    *,
    crop: tuple[int, int] | None = None,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    depth: bool = False,
) -> "albumentations.Compose":
    """Return the pipeline of a recipe's ``data.augment``, to be called ``pipeline(image=..., mask=...)``.

    ``beside=...``, ``rows=...`` and ``columns=...`` may be given too, and move as the mask does.

    Geometry moves picture and mask alike, the mask by nearest neighbour; what comes in from outside the picture is 0
    in the picture and 255 (ignore) in the mask. Colour, noise and blur change the picture alone.

    Args:
        specs: a name of ``AUGMENTATIONS``, or a list of ``{Transform: parameters}``; ``OneOf`` and its like take
            ``transforms``, a list of the same kind.
        crop: (height, width) to cut from the centre, as soon as the last transform that needs surroundings has had
            them; feed it pictures of ``window_size``.
        size: (height, width) that all pictures have, and are to keep, where nothing is cut from them; ready-made lists
            leave out quarter turns where that is no square.
        channels: of the pictures; ready-made lists leave out what only works on colour where it is not 3.
        depth: ``rows`` and ``columns`` will be given, for depth to follow.

    Raises:
        RecipeError: an unknown transform, parameter or value, naming the place and the nearest right one; with depth,
            a transform that changes shapes otherwise than by moving pixels; a quarter turn of what is no square.

    >>> from segkit.data.transforms import build_augmentation
    >>> len(build_augmentation([{"HorizontalFlip": {"p": 0.5}}, {"RandomGamma": None}]).transforms)
    2
    """
    A = _albumentations()  # noqa: N806 (the library's own idiom)
    oblong = size is not None and size[0] != size[1]
    listed = _listed(specs, channels, oblong)
    transforms = [_build(spec, f"data.augment[{i}]") for i, spec in enumerate(listed)]
    for i, spec in enumerate(listed):
        of_colour = [name for name in _names(spec) if name in THREE_CHANNELS]
        if channels not in (1, 3) and of_colour:
            raise RecipeError(
                f"data.augment[{i}]: {of_colour[0]} is of colour, these have {channels} channels; leave it out"
            )
        if depth and RESHAPES in _names(spec):
            raise RecipeError(
                f"data.augment[{i}]: {RESHAPES} makes shapes grow or shrink, which depth can't follow; leave it out, "
                "or train without depth"
            )
        turning = [name for name in _names(spec) if name in QUARTER_TURNS]
        if size is not None and oblong and turning:
            raise RecipeError(
                f"data.augment[{i}]: {turning[0]} turns pictures by quarters, and of {size[1]}×{size[0]} (width × "
                "height) batches need all alike; leave it out, or make input_size a square"
            )
    if crop is not None:
        height, width = crop
        after = max((i + 1 for i, spec in enumerate(listed) if _needs_window(spec, crop)), default=0)
        cut = A.CenterCrop(height, width, pad_if_needed=True, fill_mask=IGNORE, p=1.0)
        if after:
            transforms.insert(after, cut)
    like_masks = dict.fromkeys(("beside", "rows", "columns"), "mask")
    return A.Compose(transforms, mask_interpolation=cv2.INTER_NEAREST, additional_targets=like_masks)


def window_size(specs: str | Sequence[Spec], crop: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of the window that a crop's augmentation needs to fill the crop with real pixels."""
    listed = _listed(specs, 3, oblong=False)
    side = max(crop)
    if any(_moves(name) for spec in listed for name in _names(spec)):
        side = math.ceil(MARGIN * side)
        return side, side
    return (side, side) if any(_needs_window(spec, crop) for spec in listed) else crop


def _listed(specs: str | Sequence[Spec], channels: int, oblong: bool) -> Sequence[Spec]:
    if not isinstance(specs, str):
        return specs
    if specs not in AUGMENTATIONS:
        raise RecipeError(f"data.augment: no list {specs!r}{nearest(specs, AUGMENTATIONS)}")
    left_out = {*(THREE_CHANNELS if channels != 3 else ()), *(QUARTER_TURNS if oblong else ())}
    return [spec for spec in AUGMENTATIONS[specs] if not set(spec) & left_out]


def _build(spec: Spec, place: str) -> Any:
    A = _albumentations()  # noqa: N806 (the library's own idiom)
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise RecipeError(f"{place}: expected one transform with its parameters, as in `- HorizontalFlip: {{p: 0.5}}`")
    [(name, parameters)] = spec.items()
    place = f"{place}.{name}"
    if name not in GROUPS and name not in _known():
        raise RecipeError(f"{place}: no such transform{_nearest_transform(name)}")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise RecipeError(f"{place}: expected parameters like {{p: 0.5}}, found {parameters!r}")
    kind, given = getattr(A, name), dict(parameters or {})

    accepted = inspect.signature(kind).parameters
    for key in given:
        if key not in accepted:
            raise RecipeError(f"{place}: no parameter {key!r}{nearest(key, [k for k in accepted if k != 'strict'])}")
    if name in GROUPS:
        inner = given.get("transforms")
        if not isinstance(inner, Sequence) or isinstance(inner, str) or not inner:
            raise RecipeError(f"{place}: expected 'transforms', a list of transforms")
        given["transforms"] = [_build(item, f"{place}.transforms[{i}]") for i, item in enumerate(inner)]
    elif "fill_mask" in accepted and accepted["fill_mask"].default is not None:
        given.setdefault("fill_mask", IGNORE)  # a default of None leaves the mask alone: dropout
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return kind(**given)
    except (ValueError, TypeError, UserWarning) as error:
        raise RecipeError(f"{place}: {' '.join(str(error).split('For further')[0].split())[:300]}") from None


def _names(spec: Spec) -> Iterator[str]:
    """Names of a spec's transform, or of those in a group."""
    for name, parameters in spec.items():
        if name in GROUPS:
            for inner in (parameters or {}).get("transforms", ()):
                yield from _names(inner)
        else:
            yield name


def _needs_window(spec: Spec, crop: tuple[int, int]) -> bool:
    return any(_moves(name) or (name in QUARTER_TURNS and crop[0] != crop[1]) for name in _names(spec))


def _moves(name: str) -> bool:
    """Whether a transform brings in pixels from outside a crop."""
    kind = _known().get(name)
    still = (*STAYS, *QUARTER_TURNS)
    if kind is None or name in still or not issubclass(kind, _albumentations().DualTransform):
        return False
    fill = inspect.signature(kind).parameters.get("fill_mask")
    return not (fill is not None and fill.default is None) and "Dropout" not in name


def _known() -> dict[str, type]:
    """Every transform of one picture by its class's name."""
    A = _albumentations()  # noqa: N806 (the library's own idiom)
    bases = {A.BasicTransform, A.DualTransform, A.ImageOnlyTransform, A.Transform3D}
    return {
        name: kind
        for name, kind in vars(A).items()
        if inspect.isclass(kind) and issubclass(kind, A.BasicTransform) and kind not in bases and name[-2:] != "3D"
    }


def _nearest_transform(name: str) -> str:
    hint = nearest(name, _known())
    return hint if "did you mean" in hint else " in albumentations; see its list of transforms"


def _albumentations() -> Any:
    """The library, imported when first needed: it takes a second, and else looks for updates over the network."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations
