import cv2
import numpy as np
import pytest
import yaml


class Maker:
    """Writes small datasets: ``maker({"a": mask, ...}, classes=[...])``."""

    def __init__(self, path):
        self.path = path

    def __call__(self, masks, *, size=None, **description):
        for part in ("images", "masks"):
            (self.path / part).mkdir(exist_ok=True)
        for number, (name, mask) in enumerate(masks.items()):
            mask = np.asarray(mask)
            image = np.random.default_rng(number).integers(0, 256, (*(size or mask.shape[:2]), 3), dtype=np.uint8)
            self.write(f"images/{name}.png", image)
            self.write(f"masks/{name}.png", mask)
        if description:
            (self.path / "dataset.yaml").write_text(yaml.safe_dump(description, sort_keys=False))
        return self.path

    def write(self, name, pixels):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(pixels)
        cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels.astype(np.uint8))


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path)


@pytest.fixture(scope="session")
def maker_at():
    """For a dataset that several tests read: ``maker_at(folder)({...}, classes=[...])``."""
    return Maker
