"""A backbone's weights as a file that any recipe can begin with."""

from pathlib import Path

from safetensors.torch import save_file

from segkit.backbones.backbone import Backbone
from segkit.files import atomic_path

BACKBONE = "backbone.safetensors"


def write_backbone(backbone: Backbone, path: Path) -> None:
    """Write a backbone's state dict under its own names: ``{name: …, weights: PATH}`` in a recipe takes it."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in backbone.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={"format": "pt"})
