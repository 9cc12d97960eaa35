import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torchvision.transforms import v2

from segkit.errors import UsageError
from segkit.labelled.view import View


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (100, 90), (257, 511)])
def test_it_is_what_imagenet_is_looked_at_with(shape):
    image = noise(*shape)
    usual = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    expected = usual(torch.from_numpy(image).permute(2, 0, 1))
    view = View(size=(224, 224), share=0.875)
    assert np.array_equal(view.pixels(image).transpose(2, 0, 1), expected.numpy())
    assert torch.equal(view(image), expected / 255)


def test_an_image_of_the_size_is_seen_as_it_is_or_its_share():
    image = noise(32, 32)
    torch.testing.assert_close(
        torch.from_numpy(View(size=(32, 32), share=0.5).pixels(image)).permute(2, 0, 1),
        v2.functional.resize(torch.from_numpy(image).permute(2, 0, 1), [64, 64], antialias=True)[:, 16:48, 16:48],
    )
    assert np.array_equal(View(size=(32, 32)).pixels(image), image)


def test_the_picture_is_its_bytes_by_255():
    view, image = View(size=(8, 12), share=0.9), noise(40, 30, 1)
    pixels = view.pixels(image)
    assert pixels.dtype == np.uint8
    assert np.array_equal(view(image).numpy(), pixels.transpose(2, 0, 1) / np.float32(255))


@settings(deadline=None)
@given(*[st.integers(1, 90)] * 4, st.floats(0.3, 1))
def test_any_image_gives_the_size_and_no_colour_of_its_own(height, width, rows, columns, share):
    seen = View(size=(rows, columns), share=share).pixels(np.full((height, width, 3), 77, np.uint8))
    assert seen.shape == (rows, columns, 3)
    assert (seen == 77).all()


def test_a_wide_size_cuts_the_middle_rows():
    image = np.repeat(np.arange(16, dtype=np.uint8)[:, None, None], 16, axis=1)
    seen = View(size=(8, 16)).pixels(image)
    assert seen[:, 0, 0].tolist() == list(range(4, 12))


def test_small_images_are_usually_seen_whole():
    assert View.usual((32, 32)).share == View.usual((64, 224)).share == 1
    assert View.usual((224, 224)).share == 0.875


def test_mistakes_are_named():
    with pytest.raises(UsageError, match=r"an image is uint8 \[H, W, C\]; found float64 \[2, 2\]"):
        View(size=(2, 2))(np.zeros((2, 2)))
    for mistake in ({"size": (0, 2)}, {"size": (2, 2), "share": 0}, {"size": (2, 2), "shear": 1}):
        with pytest.raises(ValidationError):
            View(**mistake)
