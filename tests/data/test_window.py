import numpy as np

from segkit.data.cut import cut


def test_a_window_continues_as_reflection_and_its_mask_as_ignore():
    image = np.arange(4, dtype=np.uint8).reshape(1, 4, 1)
    window, layers = cut(image, {"mask": image[..., 0], "beside": image}, (0, -2), (1, 8))
    mask = layers["mask"]
    assert window.ravel().tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert mask.ravel().tolist() == [255, 255, 0, 1, 2, 3, 255, 255]
