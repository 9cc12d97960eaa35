"""Saved models of every kind: a folder (or a zip of it) with ``segkit.json``, safetensors files and a model card.

``store`` knows files and hashes, ``description`` what every kind says of itself, ``kinds`` which kinds there are, and
``saving`` and ``loading`` put them together.
"""

from segkit.artifact.kinds import check_draws_masks
from segkit.artifact.loading import AnyModel, draws_masks, load, load_segmentation
from segkit.artifact.saving import save
from segkit.artifact.segmentation import member_digests
from segkit.artifact.store import DESCRIPTION, check_place

__all__ = [
    "DESCRIPTION",
    "AnyModel",
    "check_draws_masks",
    "check_place",
    "draws_masks",
    "load",
    "load_segmentation",
    "member_digests",
    "save",
]
