"""Items of a dataset put together to batches."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segkit.errors import DataError

Item = dict[str, Any]


def collate(items: Sequence[Item]) -> Item:
    """Return a batch: ``image`` [B, C, H, W], ``target`` [B, ...], ``name`` list; ``weight`` is None.

    ``depth`` [B, C + 1, H, W] is None, and ``beside`` [B, E, H, W] not there, where the items have none.
    """
    sizes = {tuple(item["image"].shape[-2:]) for item in items}
    if len(sizes) > 1:
        listed = ", ".join(f"{width}×{height}" for height, width in sorted(sizes))
        turned = any((width, height) in sizes for height, width in sizes if height != width)
        why = " (a quarter turn of data.augment may have turned one: leave it out, or)" if turned else ";"
        raise DataError(f"{items[0]['name']}: pictures of different sizes ({listed}) in one batch{why} set data.crop")
    beside = {"beside": torch.stack([item["beside"] for item in items])} if "beside" in items[0] else {}
    return {
        **beside,
        "image": torch.stack([item["image"] for item in items]),
        "depth": torch.stack([item["depth"] for item in items]) if "depth" in items[0] else None,
        "target": torch.stack([item["target"] for item in items]),
        "weight": None,
        "name": [item["name"] for item in items],
    }


def joined(batch: Item) -> Tensor:
    """A batch's images with their second modality behind, if it has one: [B, C, H, W] or [B, C + D + 1, H, W]."""
    image: Tensor = batch["image"]
    return image if batch["depth"] is None else torch.cat([image, batch["depth"]], dim=1)
