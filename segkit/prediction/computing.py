"""Where, in which precision and on how much at a time a model is computed, where nobody says."""

import torch

from segkit.errors import UsageError
from segkit.one_line import one_line
from segkit.precision import fastest
from segkit.prediction.protocol import Model
from segkit.prediction.settings import Kept
from segkit.sections import Precision

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
LARGEST_BATCH = 64


def named_device(device: str | torch.device) -> torch.device:
    """The device, if numbers can be put there, and had back."""
    try:
        numbers = torch.ones(1, device=device)
        numbers.item()  # which "meta", of shapes alone, refuses
        return numbers.device
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:  # all but the third: built without it
        raise UsageError(f"device={str(device)!r}: not there ({one_line(error)}); take 'cpu'") from error


def device_for(model: Model) -> torch.device:
    """Where the model is, or the first GPU where the model is on the CPU and there is a GPU."""
    first = next(iter(model.parameters()), None)
    if first is None:  # functions and exported files: they say themselves where they compute
        return torch.device("cpu")
    here = first.device
    return torch.device("cuda") if here.type == "cpu" and torch.cuda.is_available() else here


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
