"""Swin's published tensors under our names, and tables of position bias for windows of another size."""

import re
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

UNUSED = ("head.", "norm.", "mask_token")  # a classifier's own in every published layout, and SimMIM's
DERIVED = ("relative_position_index", "attn_mask")  # follow from the sizes of window and image

# What is called otherwise, once stages are numbered as ours and their shrinking is called that.
RENAMED = {
    r"^patch_embed\.proj\.": "layers.0.shrink.project.",
    r"^patch_embed\.norm\.": "layers.0.shrink.norm.",
    r"^layers\.0\.shrink\.0\.": "layers.0.shrink.project.",
    r"^layers\.0\.shrink\.2\.": "layers.0.shrink.norm.",
    r"\.attn\.relative_position_bias_table$": ".attention.bias_table",
    r"\.attn\.qkv\.": ".attention.qkv.",
    r"\.attn\.proj\.": ".attention.project.",
    r"\.mlp\.fc1\.": ".mlp.0.",
    r"\.mlp\.(fc2|3)\.": ".mlp.2.",
    r"^norm(\d)\.": r"norms.\1.",  # the paper's code for segmentation gives each level one
}


def swin_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A Swin's state dict, torchvision's, timm's or the paper's, under our names; our own pass unchanged.

    All of them stack the 2×2 tokens that they merge in the same order, column by column, so that no tensor changes.
    """
    # The paper's code shrinks a map in the end of a stage, timm's and ours in the beginning of the next one.
    late = int("layers.0.downsample.reduction.weight" in state)
    return {
        _swin_name(name, late): tensor
        for name, tensor in state.items()
        if not name.startswith(UNUSED) and not name.endswith(DERIVED)
    }


def resample_bias(table: Tensor, entries: int) -> Tensor:
    """A bias table [(2·window - 1)², heads] for another window, [entries, heads]: bicubic, as in the paper's code.

    What isn't such a table comes back as it is.
    """
    old, new = round(table.shape[0] ** 0.5), round(entries**0.5)
    if table.ndim != 2 or old**2 != table.shape[0]:
        return table
    square = table.float().T.reshape(1, -1, old, old)
    return F.interpolate(square, size=(new, new), mode="bicubic").reshape(-1, entries).T


def _swin_name(name: str, late: int) -> str:
    # torchvision alternates: even features shrink the map, odd ones hold a stage's blocks.
    name = re.sub(
        r"^features\.(\d+)\.", lambda n: f"layers.{int(n[1]) // 2}.{'blocks' if int(n[1]) % 2 else 'shrink'}.", name
    )
    name = re.sub(r"^layers_(\d+)\.", r"layers.\1.", name)  # timm's, where it returns a pyramid
    name = re.sub(r"^layers\.(\d+)\.downsample\.", lambda n: f"layers.{int(n[1]) + late}.shrink.", name)
    for old, new in RENAMED.items():
        name = re.sub(old, new, name)
    return name
