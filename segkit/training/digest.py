"""Whether two runs are of the same data: a digest of what is trained and validated on."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from segkit.artifact import DESCRIPTION, AnyModel, member_digests
from segkit.data.folder import DatasetFolder
from segkit.ensemble import Ensemble
from segkit.onnx_model import OnnxModel
from segkit.training.plan import Plan

LEFT_BEHIND = ("thumbs.db", "desktop.ini")  # by who looks into folders on Windows


def data_digest(plans: Sequence[Plan], folder: DatasetFolder, teacher: AnyModel | None = None) -> str:
    """Hexadecimal digest of what is trained and validated on, the same for a copy of the dataset elsewhere.

    It covers what values mean, the files' names and sizes in order, and the measured normalisation: reading every byte
    would take long where there are many.
    """
    digest = hashlib.sha256(repr((folder.task, folder.classes, folder.background, folder.ignore_index)).encode())
    if teacher is not None:
        digest.update(_said_by(teacher).encode())
    sizes = cache(_sizes)  # slices of one volume name the same files
    for plan in plans:
        digest.update(repr((plan.mean, plan.std)).encode())
        if plan.depth:
            digest.update(repr((plan.encoding, folder.depth_format, folder.alignment)).encode())
        if plan.member.model.start is not None:
            start = Path(plan.member.model.start)
            start = start / DESCRIPTION if start.is_dir() else start
            if start.name == DESCRIPTION:  # which has a digest of the weights in it
                digest.update(start.read_bytes() if start.is_file() else b"")
            elif start.is_file():
                digest.update(repr((start.name, start.stat().st_size)).encode())
        for sample in (*plan.dataset.samples, *plan.validation):
            places = (sample.image, sample.mask, sample.depth, sample.roi)
            digest.update(repr((sample.name, [size for place in places for size in sizes(place)])).encode())
    return digest.hexdigest()


def _said_by(teacher: AnyModel) -> str:
    """Everything that a teacher's maps depend on."""
    if isinstance(teacher, OnnxModel):
        return teacher.digest
    facts: list[Any] = [member_digests(teacher), teacher.about.get("predict")]
    if isinstance(teacher, Ensemble):
        combination = teacher.combination
        state = {name: tensor.tolist() for name, tensor in combination.state_dict().items()}
        facts += [combination.name, combination.options(), state, teacher.temperatures, teacher.temperature]
    return repr(facts)


def _sizes(path: Path | None) -> list[int]:
    """Of a file, or of all in a folder, those in folders there among them."""
    if path is None:
        return []
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    kept = (file for file in files if file.name[0] != "." and file.name.lower() not in LEFT_BEHIND)
    return [file.stat().st_size for file in kept if file.is_file()]
