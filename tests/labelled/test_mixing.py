import pytest
import torch

from segkit.errors import UsageError
from segkit.labelled.mixing import Mixing

IMAGE = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([0, 1, 2, 3, 0, 0])
ONE_HOT = torch.eye(4)[TARGET]


def mixed(steps=40, **options):
    mixing = Mixing(4, **options)
    return [mixing(IMAGE, TARGET, (0, 0, step)) for step in range(steps)]


def test_mixup_lays_each_image_over_the_one_before_in_one_proportion():
    for image, target in mixed(mixup=0.8):
        proportion = target[1, 1]
        assert torch.allclose(image, proportion * IMAGE + (1 - proportion) * IMAGE.roll(1, 0), atol=1e-6)
        assert torch.allclose(target, proportion * ONE_HOT + (1 - proportion) * ONE_HOT.roll(1, 0), atol=1e-6)


def test_cutmix_puts_a_rectangle_of_the_one_before_into_each_image():
    areas = set()
    for image, target in mixed(cutmix=1.0):
        theirs = (image != IMAGE).all(1)
        assert torch.equal(image, torch.where(theirs[:, None], IMAGE.roll(1, 0), IMAGE))
        assert (theirs == theirs[:1]).all()
        share = theirs[0].float().mean()
        assert torch.allclose(target, (1 - share) * ONE_HOT + share * ONE_HOT.roll(1, 0), atol=1e-6)
        areas.add(float(share))
    assert len(areas) > 10


def test_a_share_of_the_batches_is_mixed_half_by_each():
    ways = {"none": 0, "mixup": 0, "cutmix": 0}
    for image, target in mixed(400, mixup=0.8, cutmix=1.0, share=0.5):
        if torch.equal(image, IMAGE) and torch.equal(target, ONE_HOT):
            ways["none"] += 1
        else:
            ways["cutmix" if ((image == IMAGE) | (image == IMAGE.roll(1, 0))).all() else "mixup"] += 1
    assert 160 < ways["none"] < 240
    assert 70 < ways["mixup"] < 130


def test_what_is_not_mixed_has_targets_of_one_class():
    ((image, target),) = mixed(1)
    assert torch.equal(image, IMAGE)
    assert target.dtype == torch.float32
    assert torch.equal(target, ONE_HOT)


def test_what_is_drawn_depends_on_the_step_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = mixed(5, mixup=0.8, cutmix=1.0), mixed(5, mixup=0.8, cutmix=1.0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True))


def test_mistakes_are_named():
    with pytest.raises(UsageError, match=r"mixup and cutmix are 0 \(never\) or above; found -1 and 0"):
        Mixing(4, mixup=-1)
    with pytest.raises(UsageError, match=r"share=1\.5: expected a share of the batches"):
        Mixing(4, mixup=1, share=1.5)
