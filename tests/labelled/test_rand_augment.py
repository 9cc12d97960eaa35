import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, v2

from segkit.labelled.rand_augment import FILL, MOVES, OPERATIONS, apply, rand_augment

THEIRS = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "saturation": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
}


def images(count, *size):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0)) * 0.8


@pytest.mark.parametrize("magnitude", [0, 9, 17, 30])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_and_magnitudes_are_torchvisions(operation, magnitude):
    image = images(2, 20, 27)
    number = OPERATIONS.index(operation)
    ours = apply(image, np.array([number, number]), np.array([1, -1]), magnitude)
    theirs = v2.RandAugment(1, interpolation=InterpolationMode.BILINEAR)
    of, signed = theirs._AUGMENTATION_SPACE[THEIRS[operation]]
    strengths = of(31, 20, 27)
    for sign, one, done in zip((1, -1), image, ours, strict=True):
        strength = 0.0 if strengths is None else float(strengths[magnitude]) * (sign if signed else 1)

        def moved(x, given=(THEIRS[operation], strength, InterpolationMode.BILINEAR, theirs._fill)):
            return theirs._apply_image_or_video_transform(x, *given)

        expected = moved(one)
        if operation in MOVES:  # they fill with black; where grey, they let it into pixels that are partly inside twice
            expected += FILL * (1 - moved(torch.ones_like(one)))
        assert torch.allclose(done, expected, atol=2e-5)


def test_the_operations_are_all_of_torchvisions():
    assert {THEIRS[name] for name in OPERATIONS} == set(v2.RandAugment._AUGMENTATION_SPACE)


def test_images_of_a_batch_draw_for_themselves():
    image = images(1, 16, 16).expand(64, 3, 16, 16)
    done = rand_augment(image, 1, 20, np.random.default_rng(0))
    assert 15 < len({tuple(one.flatten()[:300].tolist()) for one in done}) <= 23
    again = rand_augment(image, 1, 20, np.random.default_rng(0))
    assert torch.equal(done, again)
    assert 0 <= done.min() <= done.max() <= 1


def test_one_after_the_other_is_as_often_as_asked():
    image = images(8, 12, 12)
    draws, once = np.random.default_rng(3), np.random.default_rng(3)
    twice = rand_augment(rand_augment(image, 1, 9, once), 1, 9, once)
    assert torch.equal(rand_augment(image, 2, 9, draws), twice)


def test_grey_images_have_no_saturation():
    image = images(4, 9, 9)[:, :1]
    done = apply(image, np.full(4, OPERATIONS.index("saturation")), np.ones(4, dtype=np.int64), 30)
    assert torch.equal(done, image)
