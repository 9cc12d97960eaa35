"""What a model says of one volume, on the volume's own grid."""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.cases import Case
from segkit.data.suffixes import DICOM, suffix_of
from segkit.data.volume import Volume
from segkit.measuring.volume_preview import draw_volume_preview
from segkit.medical.writing import suffix_for, write_labels, write_map
from segkit.prediction.prediction import Prediction
from segkit.prediction.volume_maps import tall
from segkit.prediction.writers import write_picture
from segkit.trusting.verdict import Trust

MAPS = ("labels", "probabilities", "entropy", "disagreement")


@dataclass(frozen=True, eq=False, kw_only=True)
class VolumePrediction(Prediction):
    """Labels and probabilities of a volume: those of a :class:`Prediction` with [I, J, K] in the place of [H, W].

    Attributes:
        volume: what was predicted, with its geometry.
        case: the same as the model saw it.
        made_by: name of the model, which DICOM objects tell.
        digest: of the model, likewise; None where it isn't known.
        members: how many networks it has, likewise.
    """

    volume: Volume
    case: Case
    made_by: str = "model"
    digest: str | None = None
    members: int = 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along I, J and K."""
        return self.volume.geometry.spacing

    @cached_property
    def trust(self) -> Trust | None:
        """As of a picture; see :attr:`Prediction.trust`."""
        return None if self.judge is None else self.judge.of(self.flat)

    @property
    def flat(self) -> Prediction:
        """The same of its voxels as one tall picture, [I · J, K]."""
        values = {field.name: getattr(self, field.name) for field in fields(Prediction)}
        flattened = {name: tall(np.asarray(values[name])) for name in MAPS if values[name] is not None}
        return Prediction(**{**values, **flattened})

    @property
    def image(self) -> NDArray[np.float32]:
        """What the model saw, float32 [I, J, K, C] in 0..1."""
        return self.case.values

    def overlay(self) -> NDArray[np.uint8]:
        """Slices in three planes with the classes filled and outlined, uint8 RGB [h, w, 3]."""
        return draw_volume_preview(
            self.case.values,
            np.asarray(self.labels),
            self.volume.geometry,
            self.palette,
            self.background,
            self.task,
            located=self.volume.located,
        )

    @property
    def _suffix(self) -> str:
        return suffix_for(self.volume)

    def _write(self, kind: str, paths: tuple[Path, ...]) -> None:
        maps: dict[str, NDArray[Any] | None] = {
            "probability": self.probabilities,
            "entropy": self.entropy,
            "disagreement": self.disagreement,
        }
        found = maps.get(kind)
        if kind == "mask":
            self._write_mask(paths)
        elif kind == "overlay":
            write_picture(paths[0], self.overlay())
        elif kind == "probability" and suffix_of(paths[0]) == DICOM:
            self._write_seg(paths[0], self.probabilities)
        elif found is not None:
            last = found if found.ndim == 3 else found[0] if len(found) == 1 else np.moveaxis(found, 0, -1)
            write_map(paths[0], last, self.volume, kind)

    def _write_mask(self, paths: tuple[Path, ...]) -> None:
        if suffix_of(paths[0]) == DICOM:
            self._write_seg(paths[0], None)
            return
        layers = self.labels if self.task == "multilabel" else self.labels[None]
        for path, found in zip(paths, layers, strict=True):
            write_labels(path, np.asarray(found), self.volume)

    def _write_seg(self, path: Path, probabilities: NDArray[np.float32] | None) -> None:
        from segkit.medical.dicom_seg_write import write_seg

        write_seg(
            path,
            np.asarray(self.labels),
            self.volume,
            classes=self.classes,
            task=self.task,
            background=self.background,
            probabilities=probabilities,
            colours=self.palette,
            model_name=self.made_by,
            model_digest=self.digest or "",
            members=self.members,
        )
