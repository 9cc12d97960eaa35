"""RandAugment for batches: each image draws its own operations, and those of one operation are computed together."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional

from segkit.labelled import colour
from segkit.labelled.grouping import Operation, in_groups

STRONGEST = 30
FILL = 0.5  # of what comes in from outside, near the mean of most data

MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
BLENDS = ("brightness", "saturation", "contrast", "sharpness")
OTHERS = ("identity", "posterize", "solarize", "autocontrast", "equalize")
OPERATIONS = (*MOVES, *BLENDS, *OTHERS)


def rand_augment(image: Tensor, operations: int, magnitude: int, draws: np.random.Generator) -> Tensor:
    """Operations drawn for each image: float32 [B, C, h, w] in 0..1 → the same shape and range.

    The fourteen operations and their magnitudes are those of torchvision's ``v2.RandAugment`` with 31 bins, bilinear
    and filled with mid-grey: shears up to 0.3, shifts up to 150/331 of the side in whole pixels, turns up to 30°,
    factors up to 1 ± 0.9, 8 to 4 bits, a threshold of 1 to 0; signs are drawn.

    Args:
        image: the batch.
        operations: of each image, one after the other.
        magnitude: 0 to 30.
        draws: what is drawn comes from here.
    """
    for _ in range(operations):
        chosen = draws.integers(len(OPERATIONS), size=len(image))
        signs = draws.integers(2, size=len(image)) * 2 - 1
        image = apply(image, chosen, signs, magnitude)
    return image


def apply(image: Tensor, chosen: NDArray[np.int64], signs: NDArray[np.int64], magnitude: int) -> Tensor:
    """Each image by an operation, ``OPERATIONS[chosen]``, whose magnitude has a sign: the same shape and range."""
    strength = magnitude / STRONGEST
    numbers = np.zeros((len(image), 6))
    numbers[:, 0] = 1 + 0.9 * strength * signs
    moving = chosen < len(MOVES)
    height, width = image.shape[2:]
    moves = np.array([[move_matrix(name, sign * strength, height, width) for sign in (-1, 1)] for name in MOVES])
    numbers[moving] = moves[chosen[moving], (signs[moving] + 1) // 2].reshape(-1, 6)
    ways: list[Operation] = [
        lambda x, p: colour.affine(x, p.view(-1, 2, 3), FILL),
        lambda x, p: colour.adjust_brightness(x, p[:, :1, None, None]),
        lambda x, p: colour.adjust_saturation(x, p[:, :1, None, None]),
        lambda x, p: colour.adjust_contrast(x, p[:, :1, None, None]),
        lambda x, p: colour.adjust_sharpness(x, p[:, :1, None, None]),
        lambda x, _: x,
        lambda x, _: functional.posterize(x, bits=8 - round(4 * strength)),
        lambda x, _: functional.solarize(x, threshold=1 - strength),
        lambda x, _: functional.autocontrast(x),
        lambda x, _: functional.equalize(x),
    ]
    return in_groups(image, np.where(moving, 0, chosen - len(MOVES) + 1), numbers, ways)


def move_matrix(name: str, strength: float, height: int, width: int) -> NDArray[np.float64]:
    """Where pixels of the result come from, for :func:`segkit.labelled.colour.affine`: [2, 3].

    Args:
        name: one of ``MOVES``.
        strength: -1 to 1.
        height, width: of the image, in pixels.
    """
    matrix = np.eye(2, 3)  # in pixels from the centre
    if name == "shear_x":  # about the top left corner
        matrix[0, 1:] = 0.3 * strength, 0.3 * strength * height / 2
    elif name == "shear_y":
        matrix[1, ::2] = 0.3 * strength, 0.3 * strength * width / 2
    elif name == "translate_x":
        matrix[0, 2] = -int(150 / 331 * width * strength)
    elif name == "translate_y":
        matrix[1, 2] = -int(150 / 331 * height * strength)
    else:
        cosine, sine = np.cos(np.radians(30 * strength)), np.sin(np.radians(30 * strength))
        matrix[:, :2] = [[cosine, -sine], [sine, cosine]]
    return matrix * [[1, height / width, 2 / width], [width / height, 1, 2 / height]]
