"""In which precision and on how much at a time a model is computed, where nobody says."""

import torch

from segkit.errors import UsageError
from segkit.precision import fastest
from segkit.prediction.protocol import Model
from segkit.prediction.settings import Kept
from segkit.sections import Precision

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
LARGEST_BATCH = 64


def exported_precision(model: Model, asked: Precision | Kept) -> str | None:
    """The precision that an exported file computes in; None for any other model. UsageError where another is asked."""
    own: str | None = getattr(model, "precision", None)
    if own is not None and asked not in ("kept", "auto", own):
        raise UsageError(f"precision={asked!r}: this file computes in {own}, as it was exported")
    return own


def computed_precision(precision: Precision, device: torch.device) -> Precision:
    """The precision asked for; ``auto`` is bf16 where the device computes it natively, and fp32 otherwise."""
    if precision != "auto":
        return precision
    return "bf16" if fastest(device) == "bf16" else "fp32"


def batch_for(device: torch.device, tile: int | None) -> int:
    """On a CPU as many tiles as make twice 512² pixels, since more leave its caches; eight times that on a GPU."""
    pixels = (1 << 19) * (1 if device.type == "cpu" else 8)
    return 1 if tile is None else min(max(pixels // tile**2, 1), LARGEST_BATCH)
