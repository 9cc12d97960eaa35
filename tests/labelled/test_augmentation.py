import subprocess
import sys

import pytest
from pydantic import ValidationError

from segkit.errors import UsageError
from segkit.labelled.augmentation import Augmentation
from segkit.labelled.batch_augmentation import BatchAugmentation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": {"scale": [0.5, 0.1]}}, "scale: expected from and to, rising"),
        ({"crop": {"ratio": [2, 1]}}, "ratio: expected from and to, rising"),
        ({"crop": {"scale": [0.5, 1.5]}}, "scale: a share of the image is at most 1; found 1.5"),
        ({"crop": {"pad": 4, "scale": [0.5, 1]}}, "pad: moves the whole image, so scale and ratio mean nothing"),
        ({"crop": {"pad": 0}}, "greater than or equal to 1"),
        ({"flips": 0.5}, "Extra inputs are not permitted"),
        ({"flip": 2}, "less than or equal to 1"),
        ({"rand_augment": {"magnitude": 31}}, "less than or equal to 30"),
        ({"jitter": {"hue": 0.6}}, "less than or equal to 0.5"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ValidationError, match=message):
        Augmentation(**settings)


def test_colours_need_one_channel_or_three():
    for key in ("rand_augment", "jitter"):
        with pytest.raises(UsageError, match=rf"augment\.{key}: changes colours, .* not 4; set it to null"):
            BatchAugmentation(Augmentation(**{key: {}}), (8, 8), channels=4)
    assert BatchAugmentation(Augmentation(), (8, 8), channels=4).size == (8, 8)


def test_recipes_are_read_without_torch():
    code = "import sys, segkit.labelled.augmentation, segkit.labelled.view; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
