"""Places in pictures that a dense contrastive loss compares: where depth is measured, never a hole."""

import numpy as np
import torch
from torch import Tensor


def draw_places(valid: Tensor, points: int, rng: np.random.Generator) -> Tensor:
    """Return int64 [N, 3], (picture, row, column): up to ``points`` different measured pixels of each picture.

    Each measured pixel is equally likely. A picture with fewer gives all it has; one with none gives none.

    Args:
        valid: bool [B, H, W], where depth is measured.
        points: of each picture.
        rng: what is drawn depends on it alone.
    """
    if valid.ndim != 3 or valid.dtype != torch.bool:
        raise ValueError(f"got {valid.dtype} {list(valid.shape)}; expected bool [B, H, W]")
    found = []
    for picture, measured in enumerate(valid.cpu().numpy()):
        pixels = np.flatnonzero(measured)
        chosen = rng.choice(pixels, min(points, len(pixels)), replace=False)
        rows, columns = np.divmod(chosen, measured.shape[1])
        found.append(np.stack([np.full_like(rows, picture), rows, columns], axis=1))
    return torch.from_numpy(np.concatenate(found)) if found else torch.zeros(0, 3, dtype=torch.long)
