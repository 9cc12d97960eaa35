"""A short name of everything that the outputs for a picture depend on, except the picture."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import segkit
from segkit.data.depth_format import DepthFormat
from segkit.prediction.settings import Kept

if TYPE_CHECKING:
    from segkit.prediction.predictor import Predictor
    from segkit.prediction.protocol import Model

LENGTH = 16  # hexadecimal digits: that two runs of one folder meet is out of the question


def fingerprint(
    predictor: "Predictor",
    *,
    threshold: float | Kept,
    kinds: Sequence[str],
    depth_format: DepthFormat | None = None,
    mpp: float | None = None,
) -> str:
    """Hexadecimal digits that change with the model, its weights, a setting, the kinds of outputs or the program.

    What only says how fast it goes (the tiles of a batch, the device) isn't in it. A model that isn't made of tensors
    says what it is by its ``digest``.
    """
    labelling = predictor.labelling(threshold)
    facts = {
        "program": segkit.__version__,
        "model": predictor.model_digest or model_digest(predictor.model),
        "tile": predictor.tile,
        "overlap": predictor.overlap,
        "tta": predictor.tta,
        "precision": predictor.precision,
        "threshold": labelling.threshold,
        "postprocess": labelling.kept(),
        "judge": None if predictor.judge is None else predictor.judge.model_dump(mode="json"),
        "kinds": list(kinds),
        "depth": None if depth_format is None else depth_format.model_dump(mode="json"),
        "mpp": mpp,
    }
    return hashlib.sha256(_bytes(facts)).hexdigest()[:LENGTH]


def model_digest(model: "Model") -> str:
    """SHA-256 of what a model is made of and of every tensor, by its name."""
    facts = {
        "model": getattr(model, "digest", repr(model)),
        "architecture": [module.architecture for module in model.modules() if hasattr(module, "architecture")],
        "from elsewhere": [
            getattr(module, name)
            for module in model.modules()
            for name in ("identity", "digest")
            if hasattr(module, name)
        ],
        "temperatures": [getattr(model, name, None) for name in ("temperatures", "temperature")],
        "task": model.task,
        "classes": list(model.classes),
        "background": model.background,
        "reader": model.reader.model_dump(mode="json"),
    }
    digest = hashlib.sha256(_bytes(facts))
    tensors: dict[str, Tensor] = model.state_dict() if isinstance(model, nn.Module) else {}
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _bytes(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, default=str).encode()
