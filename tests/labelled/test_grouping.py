import numpy as np
import torch

from segkit.labelled.grouping import in_groups


def test_each_image_goes_its_own_way_and_each_way_is_gone_once():
    image = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    calls = []

    def way(factor):
        def operation(images, numbers):
            calls.append((factor, len(images)))
            return images * factor + numbers[:, :1, None, None]

        return operation

    done = in_groups(
        image, np.array([2, 0, 2, 1, 0]), np.arange(5.0)[:, None] / 10, [way(1), way(10), way(100), way(9)]
    )
    assert torch.allclose(done[:, 0, 0, 0], torch.tensor([0.0, 1.1, 200.2, 30.3, 4.4]))
    assert done.shape == image.shape
    assert calls == [(1, 2), (10, 1), (100, 2)]
