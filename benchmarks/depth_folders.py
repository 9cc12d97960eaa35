"""Folders made of a dataset by links: other depth, or depth in the place of the pictures."""

from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from segkit.data.depth import stored_values


class Places:
    """Folders made of a dataset by links: other depth, or depth in the place of the pictures."""

    def __init__(self, folder: Any, into: Path) -> None:
        self.folder, self.into = folder, into

    @cached_property
    def window(self) -> tuple[float, float]:
        """From nothing measured to the largest value but for outliers, of the training pictures."""
        values = [stored_values(sample.depth)[::4, ::4] for sample in self.folder.samples("train") if sample.depth]
        return 0.0, float(np.percentile(np.concatenate([each.ravel() for each in values]), 99.9))

    @cached_property
    def depth(self) -> Path:
        return self._made("depth", {sample.name: sample.depth for sample in self._all()}, {})

    @cached_property
    def filled_depth(self) -> Path:
        return self._made("filled_depth", self._filled(), {})

    @cached_property
    def filled(self) -> Path:
        return self._made("filled", {sample.name: sample.image for sample in self._all()}, self._filled())

    @cached_property
    def no_depth(self) -> Path:
        return self._made("no_depth", {sample.name: sample.image for sample in self._all()}, {})

    def _all(self) -> list[Any]:
        return self.folder.samples(*self.folder.splits)

    def _made(self, name: str, images: dict[str, Path], depth: dict[str, Path]) -> Path:
        place = self.into / name
        masks = {sample.name: sample.mask for sample in self._all()}
        for kind, files in (("images", images), ("masks", masks), ("depth", depth)):
            for stem, file in files.items():
                link = place / kind / f"{stem}{file.suffix}"
                if not link.is_symlink():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(file.resolve())
        said = yaml.safe_load((self.folder.path / "dataset.yaml").read_text(encoding="utf-8"))
        if not depth:
            said = {key: value for key, value in said.items() if not key.startswith("depth_")}
        (place / "dataset.yaml").write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
        return place

    def _filled(self) -> dict[str, Path]:
        """Depth files without holes, of the test pictures; the others stay as they are."""
        files = {sample.name: sample.depth for sample in self._all()}
        for sample in self.folder.samples("test"):
            file = self.into / "without_holes" / f"{sample.name}.png"
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), filled(stored_values(sample.depth)[..., 0]))
            files[sample.name] = file
        return files


def filled(values: NDArray[Any]) -> NDArray[Any]:
    """Depth [H, W] with every 0, which is nothing measured, replaced by the nearest value."""
    nearest = distance_transform_edt(values == 0, return_distances=False, return_indices=True)
    return values[tuple(nearest)]
