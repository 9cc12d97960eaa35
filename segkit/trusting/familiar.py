"""Whether a picture is like those that a model was trained on: its brightness, contrast, size and spacing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from segkit.data.picture import Picture
from segkit.data.scaled import Scaled

SAMPLED = 1 << 18  # pixels of a picture that are looked at
ROWS = 512
WIDER = 0.5  # a range is widened by so much of its width on both sides
COUNTS = ("height", "width", "voxels")  # properties of these names are logarithms of pixels or voxels
LENGTHS = (*COUNTS, "microns", "millimetres")  # and of spacings
LEAST = 0.05  # and by so much at least, of brightness in 0..1 or of the logarithm of a size

Array = NDArray[np.float64]


class Range(BaseModel):
    """What was met in training of one property of pictures.

    Attributes:
        name: in words.
        low, high: smallest and largest value.
        logarithm: whether values are logarithms, of sizes.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    low: float
    high: float
    logarithm: bool = False

    def complaint(self, value: float) -> str | None:
        """What is to be said of a value that is far outside; None of the others."""
        margin = max(WIDER * (self.high - self.low), LEAST)
        if self.low - margin <= value <= self.high + margin:
            return None
        shown = [float(np.exp(each)) if self.logarithm else each for each in (value, self.low, self.high)]
        digits = ".0f" if self.name.startswith(COUNTS) else ".2f"
        return f"{self.name} {shown[0]:{digits}}, trained on {shown[1]:{digits}} to {shown[2]:{digits}}"


def properties_of(picture: Scaled) -> dict[str, float]:
    """Properties of a picture as the model sees it, by name; those of sizes are logarithms.

    Of each channel the mean, the deviation and the 1st and 99th percentiles, in 0..1; height and width in pixels and,
    where they are known, microns a pixel; of a volume voxels and, where they are known, millimetres along each axis.
    """
    height, width = picture.size
    step = max(1, round((height * width / SAMPLED) ** 0.5))
    rows = [picture.rows(top, min(top + ROWS, height))[::step, ::step] for top in range(0, height, ROWS)]
    pixels = np.concatenate([part.reshape(-1, part.shape[-1]) for part in rows]).astype(np.float64)
    found: dict[str, float] = {}
    for channel, values in enumerate(pixels.T):
        of = f" of channel {channel + 1}" if pixels.shape[1] > 1 else ""
        low, high = np.percentile(values, [1, 99])
        found |= {
            f"brightness{of}": float(values.mean()),
            f"contrast{of}": float(values.std()),
            f"darkest percent{of}": float(low),
            f"brightest percent{of}": float(high),
        }
    lengths = picture.lengths
    if lengths is None:
        lengths = {"height": float(height), "width": float(width)}
        microns = picture.pixels.mpp if isinstance(picture.pixels, Picture) else None
        if microns is not None:
            lengths |= {f"microns {way}": each for way, each in zip(("down", "across"), microns, strict=True)}
    return found | {name: float(np.log(length)) for name, length in lengths.items()}


def ranges_of(pictures: Sequence[dict[str, float]]) -> list[Range]:
    """The range of each property over the pictures trained on."""
    found = []
    for name in dict.fromkeys(name for picture in pictures for name in picture):
        values = [picture[name] for picture in pictures if name in picture]
        found.append(Range(name=name, low=min(values), high=max(values), logarithm=name.startswith(LENGTHS)))
    return found


def unlike(ranges: Sequence[Range], picture: dict[str, float]) -> list[str]:
    """What of a picture is unlike anything trained on, in words; empty where nothing is."""
    complaints = (each.complaint(picture[each.name]) for each in ranges if each.name in picture)
    return [complaint for complaint in complaints if complaint is not None]
