"""Which views of an image are averaged ("test-time augmentation"), as it is said in recipes and on the command line."""

from typing import NamedTuple

TTA = str | None
"""None: the image as it is. Else a name out of ``TURNINGS``, further scales, or both: ``"flip,0.75,1.25"``."""

TURNINGS = ("mirror", "flip", "d4")
"""mirror: left-right; flip: upside down too, four views; d4: quarter turns of these as well, eight views."""

SMALLEST, LARGEST = 0.25, 4.0


class Views(NamedTuple):
    """A kind of turning, None for none, and the scales that images are seen at, 1 first."""

    turning: str | None
    scales: tuple[float, ...]


def parse_tta(tta: TTA) -> Views:
    """What ``tta`` stands for.

    Raises:
        ValueError: an unknown name, or a scale outside 0.25..4.

    >>> parse_tta("flip,0.75,1.25")
    Views(turning='flip', scales=(1.0, 0.75, 1.25))
    >>> parse_tta("1.5")
    Views(turning=None, scales=(1.0, 1.5))
    """
    words = [] if tta is None else [word.strip() for word in tta.split(",")] if isinstance(tta, str) else [""]
    turning = words.pop(0) if words and words[0] in TURNINGS else None
    scales = [1.0]
    for word in words:
        try:
            scale = float(word)
        except ValueError:
            scale = 0.0
        if not SMALLEST <= scale <= LARGEST:
            raise ValueError(
                f"tta={tta!r}: expected {', '.join(TURNINGS)}, scales from {SMALLEST:g} to {LARGEST:g}, or both, as in "
                "'flip,0.75,1.25'"
            )
        if scale not in scales:
            scales.append(scale)
    return Views(turning, tuple(scales))
