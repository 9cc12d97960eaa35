"""Pictures whose channels know the truth more or less well, and members that see one channel each."""

import cv2
import numpy as np
import pytest
import yaml

from segkit import Ensemble, Segmenter

CLASSES = ["background", "spot"]


class OneChannel(Segmenter):
    """Sees one channel of the image alone: its logits are what that is above a half, times a gain, and a shift."""

    def __init__(self, channel, gain=8.0, shift=0.0):
        source = Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=CLASSES)
        super().__init__(
            source.backbone,
            source.neck,
            source.head,
            classes=source.classes,
            task=source.task,
            background=source.background,
            reader=source.reader,
            mean=[0, 0, 0],
            std=[1, 1, 1],
        )
        self.channel, self.gain, self.shift = channel, gain, shift

    def forward(self, image, depth=None):
        return self.gain * (image[:, self.channel : self.channel + 1] - 0.5) + self.shift


def one_of(*members, **options):
    return Ensemble(members, names=["good", "fair", "random"][: len(members)], **options).eval()


@pytest.fixture(scope="session")
def spots(tmp_path_factory):
    """Eight pictures; red is the truth in noise, green in more noise, blue noise alone."""
    folder = tmp_path_factory.mktemp("data") / "spots"
    random = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    size, names = (40, 50), [f"p{i}" for i in range(8)]
    for name in names:
        mask = (cv2.GaussianBlur(random.random(size), (0, 0), 4) > 0.5).astype(np.uint8)
        channels = [
            random.integers(0, 256, size) if each is None else 64 + 128 * mask + random.normal(0, each, size)
            for each in (60, 110, None)
        ]
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)
        picture = np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), picture[..., ::-1])
    splits = {"val": names[:4], "test": names[4:]}
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"name": "spots", "classes": CLASSES, "splits": splits}))
    return folder


@pytest.fixture
def three():
    """A member for each channel."""
    return one_of(OneChannel(0), OneChannel(1), OneChannel(2))


@pytest.fixture
def members():
    """Builds an ensemble of members that see (channel, gain, shift) each."""
    return lambda *seen: one_of(*(OneChannel(*each) for each in seen))
