import pytest
import torch
from torchvision.transforms.v2 import functional

from segkit.labelled import colour

FACTORS = {
    "adjust_brightness": [0.1, 1.0, 1.9],
    "adjust_contrast": [0.0, 1.0, 1.9],
    "adjust_saturation": [0.0, 1.0, 1.9],
    "adjust_sharpness": [0.1, 1.0, 1.9],
    "adjust_hue": [-0.5, 0.0, 0.31],
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FACTORS)
def test_each_image_is_what_torchvision_makes_of_it_alone(name, channels):
    image = torch.rand(3, channels, 13, 17, generator=torch.Generator().manual_seed(0))
    image[:, :, 0] = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1)  # greys, which have no hue
    image[:, 0, 1] = 1.0
    factors = torch.tensor(FACTORS[name])
    ours = getattr(colour, name)(image, factors.view(-1, 1, 1, 1))
    for each, one, factor in zip(ours, image, factors.tolist(), strict=True):
        assert torch.allclose(each, getattr(functional, name)(one, factor), atol=2e-5)


def test_a_tiny_image_has_no_inside_to_sharpen():
    image = torch.rand(2, 3, 2, 9)
    assert torch.equal(colour.adjust_sharpness(image, torch.full((2, 1, 1, 1), 1.5)), image)


def test_an_affine_map_fills_what_comes_in():
    image = torch.ones(1, 1, 4, 4)
    matrix = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])  # from half the width to the right
    assert colour.affine(image, matrix, 0.5)[0, 0, 0].tolist() == [1, 1, 0.5, 0.5]
