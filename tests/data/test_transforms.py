import random

import numpy as np
import pytest

from segkit.data.transforms import AUGMENTATIONS, build_augmentation, window_size
from segkit.errors import RecipeError

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(1, 256, (32, 32, 3), dtype=np.uint8)
MASK = RNG.integers(0, 5, (32, 32), dtype=np.uint8)


def run(pipeline, seed=0, image=IMAGE, mask=MASK):
    pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
    done = pipeline(image=image, mask=mask)
    return done["image"], done["mask"]


def test_geometry_is_shared_by_picture_and_mask():
    pipeline = build_augmentation([{"HorizontalFlip": {"p": 1}}, {"Transpose": {"p": 1}}])
    image, mask = run(pipeline)
    assert np.array_equal(image, IMAGE[:, ::-1].swapaxes(0, 1))
    assert np.array_equal(mask, MASK[:, ::-1].T)


def test_colour_noise_and_blur_leave_the_mask_alone():
    names = ("RandomBrightnessContrast", "RandomGamma", "HueSaturationValue", "GaussianBlur", "GaussNoise")
    image, mask = run(build_augmentation([{name: {"p": 1}} for name in names]))
    assert not np.array_equal(image, IMAGE)
    assert np.array_equal(mask, MASK)


def test_what_comes_in_from_outside_is_black_and_ignored():
    image, mask = run(build_augmentation([{"Affine": {"translate_px": {"x": 8, "y": 0}, "p": 1}}]))
    assert (mask[:, :8] == 255).all()
    assert np.array_equal(mask[:, 8:], MASK[:, :-8])
    assert (image[:, :8] == 0).all()


@pytest.mark.parametrize("name", ["light", "medium", "strong"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_ready_made_lists_keep_size_type_and_class_ids(name, channels):
    image = RNG.integers(0, 256, (48, 48, channels), dtype=np.uint8)
    mask = RNG.integers(0, 5, (48, 48), dtype=np.uint8)
    assert window_size(name, (32, 32)) == (48, 48)
    pipeline = build_augmentation(name, crop=(32, 32), channels=channels)
    for seed in range(5):
        done, ids = run(pipeline, seed, image, mask)
        assert done.shape == (32, 32, channels)
        assert done.dtype == np.uint8
        assert ids.shape == (32, 32)
        assert set(np.unique(ids)) <= {0, 1, 2, 3, 4, 255}


def test_flips_are_drawn_independently_of_each_other():
    pipeline = build_augmentation([{"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}])
    corners = {tuple(run(pipeline, seed)[0][0, 0]) for seed in range(40)}
    assert len(corners) == 4


def test_only_what_brings_in_surroundings_gets_a_margin():
    turn, affine = [{"RandomRotate90": None}], [{"OneOf": {"transforms": [{"Affine": {}}, {"NoOp": {}}]}}]
    assert window_size("none", (20, 30)) == (20, 30)
    assert window_size([{"HorizontalFlip": {}}, {"CoarseDropout": {}}, {"RandomGamma": {}}], (20, 30)) == (20, 30)
    assert window_size(turn, (20, 20)) == (20, 20)
    assert window_size(turn, (20, 30)) == (30, 30)
    assert window_size(affine, (20, 30)) == (45, 45)
    for seed in range(4):
        image, mask = run(build_augmentation(turn, crop=(20, 30)), seed, IMAGE[:30, :30], MASK[:30, :30])
        assert image.shape[:2] == mask.shape == (20, 30)


def test_the_crop_is_the_centre_of_what_its_surroundings_were_given_to():
    pipeline = build_augmentation([{"Affine": {"p": 0}}, {"RandomGamma": {"p": 0}}], crop=(16, 16))
    assert [type(t).__name__ for t in pipeline.transforms] == ["Affine", "CenterCrop", "RandomGamma"]
    image, mask = run(pipeline)
    assert np.array_equal(image, IMAGE[8:24, 8:24])
    assert np.array_equal(mask, MASK[8:24, 8:24])


MISTAKES = [
    ([{"VerticalFlip": {}}, {"HorizontalFip": {}}], r"data\.augment\[1\]\.HorizontalFip: no such.*'HorizontalFlip'"),
    ([{"HorizontalFlip": {"probability": 1}}], r"data\.augment\[0\]\.HorizontalFlip: no parameter 'probability'"),
    ([{"Affine": {"rotat": 5}}], r"data\.augment\[0\]\.Affine: no parameter 'rotat'; did you mean 'rotate'"),
    ([{"Affine": {"scale": "big"}}], r"data\.augment\[0\]\.Affine: .*scale"),
    ([{"GaussNoise": {"std_range": [0.5, 3]}}], r"data\.augment\[0\]\.GaussNoise: "),
    ([{"HorizontalFlip": 0.5}], r"data\.augment\[0\]\.HorizontalFlip: expected parameters like"),
    ([{"HorizontalFlip": {}, "VerticalFlip": {}}], r"data\.augment\[0\]: expected one transform"),
    ([{"OneOf": {"p": 1}}], r"data\.augment\[0\]\.OneOf: expected 'transforms'"),
    ([{"OneOf": {"transforms": [{"Blurr": {}}]}}], r"data\.augment\[0\]\.OneOf\.transforms\[0\]\.Blurr: .*'Blur'"),
    (
        [{"OneOf": {"transforms": [{"NoOp": {}}, {"Morphological": {}}]}}],
        r"data\.augment\[0\]: Morphological makes shapes",
    ),
    ("heavy", "data.augment: no list 'heavy'; there are: none, light, medium, strong"),
]


def test_changes_of_colour_are_refused_for_other_channels():
    message = r"data\.augment\[1\]: HueSaturationValue is of colour, these have 4 channels; leave it out"
    with pytest.raises(RecipeError, match=message):
        build_augmentation([{"HorizontalFlip": None}, {"HueSaturationValue": None}], channels=4)
    assert len(build_augmentation("strong", channels=4)) > 0


@pytest.mark.parametrize(("specs", "message"), MISTAKES)
def test_mistakes_name_the_place_in_the_recipe(specs, message):
    with pytest.raises(RecipeError, match=message) as caught:
        build_augmentation(specs, depth=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_whole_pictures_that_are_no_square_keep_their_size(name):
    image, mask = np.zeros((8, 12, 3), np.uint8), np.zeros((8, 12), np.uint8)
    pipeline = build_augmentation(name, size=(8, 12))
    pipeline.set_random_seed(0)
    assert {pipeline(image=image, mask=mask)["image"].shape for _ in range(20)} == {(8, 12, 3)}


def test_quarter_turns_of_what_is_no_square_are_refused():
    inner = [{"OneOf": {"transforms": [{"NoOp": None}, {"Transpose": {"p": 1.0}}]}}]
    with pytest.raises(RecipeError, match=r"data\.augment\[0\]: Transpose turns pictures by quarters, and of 12×8"):
        build_augmentation(inner, size=(8, 12))
    build_augmentation(inner, size=(8, 8))
    build_augmentation(inner, crop=(8, 12))


def test_ready_made_lists_are_plain_values_for_a_recipe():
    import yaml

    assert yaml.safe_load(yaml.safe_dump(AUGMENTATIONS)) == AUGMENTATIONS
