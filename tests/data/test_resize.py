import numpy as np
import torch

from segkit.data.resize import resized, resized_ids, shrunk_or_enlarged


def test_the_same_size_is_the_same_picture():
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (9, 7, 3), np.uint8), rng.integers(0, 3, (9, 7), np.uint8)
    assert np.array_equal(resized(image, (9, 7)), image)
    assert np.array_equal(resized_ids(mask, (9, 7)), mask)


def test_training_and_prediction_see_the_same_pixels_up_to_rounding():
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    trained = resized(image, (16, 12))
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    predicted = shrunk_or_enlarged(tensor, (16, 12))[0].permute(1, 2, 0).numpy()
    assert np.abs(trained / 255 - predicted).max() <= 1 / 255  # uint8 is filtered in integers, along one axis at a time


def test_shrinking_averages_over_what_a_pixel_covers():
    stripes = torch.arange(64).remainder(2).float().expand(1, 1, 64, 64)
    assert shrunk_or_enlarged(stripes, (16, 16))[..., 2:-2, 2:-2].sub(0.5).abs().max() < 0.05


def test_masks_keep_their_ids():
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 7
    ids = resized_ids(mask, (4, 6))
    assert ids.tolist() == [[0, 0, 0, 7, 7, 7]] * 4
    layers = resized_ids(np.stack([mask, 7 - mask], axis=2), (4, 6))
    assert np.array_equal(layers[..., 0], ids)
    assert np.array_equal(layers[..., 1], 7 - ids)
