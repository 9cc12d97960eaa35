from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from segkit.labelled.augmentation import Augmentation, Jitter
from segkit.labelled.batch_augmentation import BatchAugmentation, erased, jittered

JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
EVERYTHING = {"crop": {"scale": [0.3, 1.0]}, "rand_augment": {}, "jitter": JITTER, "erase": 0.5}


def batch(count=8, size=(16, 16), channels=3):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (count, channels, *size), dtype=torch.uint8, generator=generator)
    return {"image": image, "extent": torch.tensor([size] * count)}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop", [{"scale": [0.3, 1.0]}, {"pad": 2}, None])
def test_all_of_it_gives_images_of_the_size(crop, channels):
    augment = BatchAugmentation(Augmentation(**EVERYTHING | {"crop": crop}), (12, 20), channels=channels)
    given = batch(channels=channels)
    before = given["image"].clone()
    done = augment(given, (0, 0, 0))
    assert done.dtype == torch.float32
    assert done.shape == (8, channels, 12, 20)
    assert 0 <= done.min() < done.max() <= 1
    assert torch.equal(given["image"], before)


def test_what_is_drawn_depends_on_seed_epoch_and_step_alone():
    augment, given = BatchAugmentation(Augmentation(**EVERYTHING), (16, 16)), batch()
    done = augment(given, (1, 2, 3))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(augment(given, (1, 2, 3)), done)
    assert torch.equal(torch.get_rng_state(), before)
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0)):
        assert not torch.equal(augment(given, other), done)


def test_nothing_asked_for_is_the_image_itself():
    given = batch()
    done = BatchAugmentation(Augmentation(crop=None, flip=0), (16, 16))(given, (0, 0, 0))
    assert torch.allclose(done, given["image"] / 255, atol=1e-5)


def test_half_of_the_images_are_mirrored_each_for_itself():
    given = batch(200)
    done = BatchAugmentation(Augmentation(crop=None), (16, 16))(given, (0, 0, 0))
    exact = given["image"] / 255
    same = (done - exact).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (done - exact.flip(-1)).abs().amax((1, 2, 3)) < 1e-4
    assert (same ^ mirrored).all()
    assert 80 < mirrored.sum() < 120


def test_a_shift_of_images_of_the_size_is_exact():
    given = batch(300)
    given["image"][:] = 255
    done = BatchAugmentation(Augmentation(crop={"pad": 2}, flip=0), (16, 16))(given, (0, 0, 0))
    rows, columns = (done[:, 0].amax(axis) for axis in (2, 1))
    counts = {(int(row.sum()), int(column.sum())) for row, column in zip(rows, columns, strict=True)}
    assert set(done.unique().tolist()) == {0.0, 1.0}
    assert counts == {(h, w) for h in (14, 15, 16) for w in (14, 15, 16)}


def test_images_of_several_sizes_are_brought_to_one_before_a_shift():
    given = {"image": torch.zeros(2, 3, 20, 30, dtype=torch.uint8), "extent": torch.tensor([[20, 11], [7, 30]])}
    for one, (height, width) in zip(given["image"], given["extent"], strict=True):
        one[:, :height, :width] = 255
    done = BatchAugmentation(Augmentation(crop={"pad": 1}), (16, 16))(given, (0, 0, 0))
    assert torch.allclose(done[:, :, 1:-1, 1:-1], torch.ones(2, 3, 14, 14))


def test_jitter_is_drawn_for_each_image_within_its_bounds():
    image = torch.full((500, 3, 4, 4), 0.5)
    factor = jittered(image, Jitter(brightness=0.4), np.random.default_rng(0))[:, 0, 0, 0] * 2
    assert 0.6 <= factor.min() < 0.62
    assert 1.38 < factor.max() <= 1.4
    assert abs(factor.mean() - 1) < 0.04
    assert jittered(image, Jitter(), np.random.default_rng(0)) is image


def test_jitter_has_an_order_of_each_images_own():
    image = torch.tensor([0.5, 0.9]).view(1, 1, 1, 2).expand(400, 1, 1, 2)
    jitter = Jitter(brightness=1, contrast=1)
    done = jittered(image, jitter, np.random.default_rng(0))
    draws = np.random.default_rng(0)
    numbers = torch.from_numpy(np.stack([draws.uniform(0, 2, 400) for _ in range(2)])).float().view(2, 400, 1, 1, 1)
    brighter = (image * numbers[0]).clamp(0, 1)
    first = (brighter.mean(3, keepdim=True) * (1 - numbers[1]) + brighter * numbers[1]).clamp(0, 1)
    contrasted = (0.7 * (1 - numbers[1]) + image * numbers[1]).clamp(0, 1)
    second = (contrasted * numbers[0]).clamp(0, 1)
    is_first, is_second = ((done - other).abs().amax((1, 2, 3)) < 1e-5 for other in (first, second))
    assert (is_first | is_second).all()
    assert (is_first & ~is_second).sum() > 100
    assert (is_second & ~is_first).sum() > 100


def test_a_rectangle_of_some_images_is_erased():
    image = torch.full((400, 3, 32, 32), 2.0)  # no noise is that
    done = erased(image, 0.25, np.random.default_rng(0))
    assert (image == 2).all()
    gone = (done != 2).all(1)
    touched = gone.any(2).any(1)
    assert 75 < touched.sum() < 125
    heights, widths = gone.any(2).sum(1)[touched], gone.any(1).sum(1)[touched]
    assert torch.equal(gone.sum((1, 2))[touched], heights * widths)  # whole rectangles
    area = heights * widths / 1024
    assert 0.015 < area.min() < 0.05
    assert 0.28 < area.max() < 0.35
    noise = done[done != 2]
    assert 0 <= noise.min() < noise.max() < 1
    assert abs(noise.mean() - 0.5) < 0.01
    assert erased(image, 0.0, np.random.default_rng(0)) is image


def test_all_of_it_is_computed_on_the_batchs_device():
    known = SimpleNamespace(numpy=lambda: np.array([[20, 31]] * 4))  # tensors have no values here
    extent = SimpleNamespace(cpu=lambda: known)
    with FakeTensorMode(allow_non_fake_inputs=True):  # refuses operands on different devices, and needs none
        image = torch.zeros(4, 3, 32, 32, dtype=torch.uint8, device="cuda")
        for crop in ({"pad": 2}, {"scale": [0.3, 1.0]}):
            settings = Augmentation(crop=crop, rand_augment={"operations": 4}, jitter=JITTER)
            augment = BatchAugmentation(settings, (32, 32))
            assert augment({"image": image, "extent": extent}, (0, 0, 0)).device.type == "cuda"
