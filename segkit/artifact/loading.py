"""Reading a saved model, of whatever kind; nothing in it is executed."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import safetensors
from pydantic import ValidationError

from segkit.artifact.description import FORMAT, Description
from segkit.artifact.kinds import KINDS, no_masks
from segkit.artifact.store import DESCRIPTION, ModelFiles, opened
from segkit.ensemble import Ensemble
from segkit.errors import ModelError
from segkit.model import Segmenter
from segkit.one_line import one_line
from segkit.onnx_model import OnnxModel, load_onnx

if TYPE_CHECKING:
    from segkit.classification.classifier import Classifier

EXPORTED = (".onnx", ".pt2")

AnyModel = Segmenter | Ensemble | OnnxModel
"""What draws masks, and :func:`load_segmentation` gives."""


def load(path: str | Path) -> "AnyModel | Classifier":
    """Give the model saved at ``path`` (a folder, its ``segkit.json``, or a zip of it), in eval mode on the CPU.

    It is of the class that was saved: a ``Segmenter``, an ``Ensemble``, a ``Classifier`` or another of
    ``segkit.artifact.kinds``. An ``.onnx`` file of ``segkit export`` gives a model that is run by ONNX Runtime. A
    program of torch.export is refused: PyTorch runs code out of such a file when it opens it.

    Raises:
        ModelError: nothing there, damaged, of another format, its hashes don't match, or a part is a class of a module
            that isn't imported yet. Nothing in it is executed, and no module is imported because it names it.
    """
    return _load(Path(path), masks=False)


def load_segmentation(path: str | Path) -> AnyModel:
    """What :func:`load` gives, for those who need masks.

    Raises:
        ModelError: as :func:`load`, or the model is of a kind that draws none, before its tensors are read.
    """
    return cast("AnyModel", _load(Path(path), masks=True))


def draws_masks(path: str | Path) -> bool:
    """Whether the model at ``path`` is of a kind that draws masks, by its description alone.

    Of anything else, an exported file or nothing at all among it, this says yes: who loads it says what is wrong.
    """
    path = _folder(Path(path))
    if path.suffix.lower() in EXPORTED and not path.is_dir():
        return True
    try:
        with opened(path) as source:
            return _described(source).draws_masks
    except ModelError:
        return True


def _folder(path: Path) -> Path:
    return path.parent if path.name == DESCRIPTION else path


def _load(path: Path, *, masks: bool) -> "AnyModel | Classifier":
    path = _folder(path)
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        return load_onnx(path)
    if path.suffix.lower() == ".pt2" and path.is_file():
        raise ModelError(
            f"{path}: a program of torch.export, which runs code when it is opened; where you trust it, open it by "
            "torch.export.load. Here, use the model it was made from, or its .onnx"
        )
    with opened(path) as source:
        description = _described(source)
        if masks and not description.draws_masks:
            raise ModelError(f"{path}: {no_masks(type(description))}")
        try:
            model = cast("Segmenter", description.build(source))
        except ModelError:
            raise
        except (
            *(ValueError, TypeError, RuntimeError, LookupError, AttributeError, ArithmeticError),
            safetensors.SafetensorError,
        ) as error:
            raise ModelError(f"{path}: the model can't be built from its description: {one_line(error)}") from error
    model.about = description.about
    return model.eval()


def _described(source: ModelFiles) -> Description:
    values = source.values()
    found = values.get("format")
    if found is None:
        raise ModelError(f"{source.path}: {DESCRIPTION} names no format: it is not a segkit model's")
    if found != FORMAT:
        raise ModelError(f"{source.path}: {DESCRIPTION} has format {found!r}, this segkit reads {FORMAT}")
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelError(
            f"{source.path}: {DESCRIPTION} is damaged at 'kind': {kind!r} is none of {', '.join(KINDS)}, or of a newer "
            "segkit"
        )
    try:
        return KINDS[kind].describes().model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{source.path}: {DESCRIPTION} is damaged at {where!r}: {first['msg']}") from None
