"""How often an image finds a caption of its own among all, and a caption an image of its own."""

import torch
from torch import Tensor

from segkit.contrasting.retrieval import TIED

ROWS = 1024  # images compared at a time


def caption_recall(images: Tensor, texts: Tensor, own: Tensor) -> dict[str, float]:
    """Return ``r1_to_text`` and ``r1_to_image``, shares 0..1, and their mean ``r1``.

    An image counts where the most similar text is one of its own, a text where the most similar image is; whatever is
    not its own but just as similar counts as more so, so that a space in which everything is one place finds nothing.
    Texts are each there once, however many images have them, and a text of no image isn't looked for.

    Args:
        images: unit vectors [N, D].
        texts: unit vectors [M, D].
        own: bool [N, M], which texts are an image's; each image has one at least.
    """
    hits = 0
    best = torch.full((2, len(texts)), -torch.inf, dtype=torch.float64)  # of each text: own images, and others
    for images_part, own_part in zip(
        torch.split(images.double().cpu(), ROWS), torch.split(own.cpu(), ROWS), strict=True
    ):
        similar = images_part @ texts.double().cpu().T
        mine, others = similar.masked_fill(~own_part, -torch.inf), similar.masked_fill(own_part, -torch.inf)
        hits += int((mine.amax(1) > others.amax(1) + TIED).sum())
        best = torch.maximum(best, torch.stack([mine.amax(0), others.amax(0)]))
    sought = own.any(0).cpu()
    to_text = hits / len(images)
    to_image = float((best[0] > best[1] + TIED)[sought].double().mean())
    return {"r1": (to_text + to_image) / 2, "r1_to_text": to_text, "r1_to_image": to_image}
