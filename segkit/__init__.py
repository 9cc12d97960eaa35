"""segkit: masks from images, from a folder of pictures to trained ensembles and what they predict.

Public names are resolved on first use, so that ``import segkit`` doesn't wait for PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segkit import backbones, heads, necks
    from segkit.adapter import Adapter
    from segkit.artifact import load, save
    from segkit.checking.run import check
    from segkit.choosing.run import fit_postprocessing
    from segkit.classification.classifier import Classifier
    from segkit.classification.ensemble import ClassifierEnsemble
    from segkit.classification.fuse import fuse
    from segkit.contrasting.image_text import ImageText
    from segkit.contrasting.zero_shot import zero_shot
    from segkit.data.folder import open_dataset
    from segkit.ensemble import Ensemble
    from segkit.evaluation.comparison import compare
    from segkit.exporting.run import export
    from segkit.fitting.run import fit
    from segkit.fitting.trust import trust
    from segkit.model import Segmenter
    from segkit.prediction.predictor import Predictor
    from segkit.pretraining.run import pretrain
    from segkit.probing.run import probe
    from segkit.score import evaluate
    from segkit.stressing.run import stress
    from segkit.suggestion.suggest import suggest
    from segkit.training.distill import distill
    from segkit.training.run import train

__version__ = "0.1.0"
__all__ = [
    "Adapter",
    "Classifier",
    "ClassifierEnsemble",
    "Ensemble",
    "ImageText",
    "Predictor",
    "Segmenter",
    "backbones",
    "check",
    "compare",
    "distill",
    "evaluate",
    "export",
    "fit",
    "fit_postprocessing",
    "fuse",
    "heads",
    "load",
    "necks",
    "open_dataset",
    "pretrain",
    "probe",
    "save",
    "stress",
    "suggest",
    "train",
    "trust",
    "zero_shot",
]

_HOMES = {
    "Adapter": "segkit.adapter",
    "Classifier": "segkit.classification.classifier",
    "ClassifierEnsemble": "segkit.classification.ensemble",
    "Ensemble": "segkit.ensemble",
    "ImageText": "segkit.contrasting.image_text",
    "Predictor": "segkit.prediction.predictor",
    "Segmenter": "segkit.model",
    "check": "segkit.checking.run",
    "compare": "segkit.evaluation.comparison",
    "distill": "segkit.training.distill",
    "evaluate": "segkit.score",
    "export": "segkit.exporting.run",
    "fit": "segkit.fitting.run",
    "fit_postprocessing": "segkit.choosing.run",
    "fuse": "segkit.classification.fuse",
    "load": "segkit.artifact",
    "open_dataset": "segkit.data.folder",
    "pretrain": "segkit.pretraining.run",
    "probe": "segkit.probing.run",
    "save": "segkit.artifact",
    "stress": "segkit.stressing.run",
    "suggest": "segkit.suggestion.suggest",
    "train": "segkit.training.run",
    "trust": "segkit.fitting.trust",
    "zero_shot": "segkit.contrasting.zero_shot",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in ("backbones", "necks", "heads"):
        return import_module(f"segkit.{name}")
    raise AttributeError(f"module 'segkit' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
