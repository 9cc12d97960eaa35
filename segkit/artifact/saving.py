"""Writing a model, of whatever kind, as a folder."""

from pathlib import Path
from typing import Any

import segkit
from segkit.artifact.description import FORMAT
from segkit.artifact.kinds import KINDS, kind_to_save
from segkit.artifact.store import DESCRIPTION, README, ModelFolder, check_place, tensor_files, written_alone
from segkit.files import remove_temporary, write_whole, writing_to


def save(model: Any, folder: str | Path) -> Path:
    """Write a model as a folder and return its path; :func:`segkit.load` gives an equal one.

    Every file is written under a temporary name and renamed, tensors before the description that names them, so
    that a stopped process leaves either the old model or the new one; what it left half written goes with the next
    model. What is of use in training alone, as auxiliary heads, is not saved.

    Args:
        model: a ``Segmenter``, an ``Ensemble``, a ``Classifier`` or another of ``segkit.artifact.kinds``.
        folder: a new one, or one with a saved model, which is replaced.

    Raises:
        UsageError: the model was not built by name, or the folder holds something else or can't be written.
    """
    folder = Path(folder)
    kind = kind_to_save(model)
    check_place(folder)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_temporary(folder, ".*")
    replaced = tensor_files(folder) | {path.name for path in written_alone(folder)}
    described, target = KINDS[kind].describes(), ModelFolder(folder)
    common = {"format": FORMAT, "segkit": segkit.__version__, "kind": kind, "about": model.about}
    description = described.model_validate({**common, **described.facts(model, target)})
    write_whole(folder / README, description.readme())
    write_whole(folder / DESCRIPTION, description.model_dump_json(indent=2))
    for stale in replaced - target.written - {README}:
        (folder / stale).unlink(missing_ok=True)
    return folder
