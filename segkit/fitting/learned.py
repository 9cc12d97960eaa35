"""Gates and stacks, trained on held-out maps by gradient descent."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segkit.combining import Combination
from segkit.combining.sums import combined
from segkit.data.masks import IGNORE
from segkit.fitting.heldout import HeldOut
from segkit.statistics import logits_of

STEPS, BATCH, CROP = 300, 4, 96
LEARNING_RATE, WEIGHT_DECAY = 5e-3, 1e-2


def fit_learned(combination: Combination, pictures: Sequence[HeldOut], loss: nn.Module, *, seed: int = 0) -> None:
    """Train a gate or a stack in place, from where it is: AdamW on crops, the rate falling to 0 along a cosine.

    Args:
        combination: with parameters.
        pictures: what the members say of pictures, and the truth.
        loss: called with logits [B, maps, h, w] and target.
        seed: of the crops.
    """
    optimizer = torch.optim.AdamW(combination.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(seed)
    combination.train()
    for _ in range(STEPS):
        members, image, target = _crops(pictures, generator)
        optimizer.zero_grad()
        found = loss(logits_of(combined(combination, members, image), combination.task), target)
        found.backward()
        optimizer.step()
        schedule.step()
    combination.eval()


def _crops(pictures: Sequence[HeldOut], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Members [M, B, maps, s, s], images [B, C, s, s] and targets of crops; nothing outside counts."""
    members, images, targets = [], [], []
    for _ in range(BATCH):
        picture = pictures[int(torch.randint(len(pictures), (1,), generator=generator))]
        height, width = picture.image.shape[-2:]
        top, left = (int(torch.randint(max(side - CROP, 0) + 1, (1,), generator=generator)) for side in (height, width))
        rows, columns = slice(top, top + CROP), slice(left, left + CROP)
        members.append(_filled(picture.members[..., rows, columns], 0.5))
        images.append(_filled(picture.image[..., rows, columns], 0.0))
        targets.append(_filled(picture.target[..., rows, columns], IGNORE))
    return torch.stack(members, dim=1), torch.stack(images), torch.stack(targets)


def _filled(x: Tensor, value: float) -> Tensor:
    """Brought to the size of a crop at the bottom and right."""
    missing = (0, CROP - x.shape[-1], 0, CROP - x.shape[-2])
    return x if not any(missing) else nn.functional.pad(x, missing, value=value)
