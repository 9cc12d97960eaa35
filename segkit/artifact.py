"""A saved model: a folder (or a zip of it) with ``segkit.json``, one safetensors file a member, and a model card."""

import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

import segkit
from segkit import combining
from segkit.data.reader import Reader
from segkit.ensemble import Ensemble
from segkit.errors import ModelError, UsageError
from segkit.files import atomic_path
from segkit.model import Segmenter
from segkit.onnx_model import OnnxModel, load_onnx
from segkit.task import Task

FORMAT = 2
DESCRIPTION = "segkit.json"
LARGEST_FILE = 16 << 30  # bytes; a zip that claims more for one file is refused before memory is taken
LARGEST_DESCRIPTION = 16 << 20

AnyModel = Segmenter | Ensemble | OnnxModel
"""What :func:`load` gives."""


class _Member(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    file: str
    sha256: str
    architecture: dict[str, Any]
    about: dict[str, Any]


class _Combined(BaseModel):
    """How an ensemble's members are combined; what was learnt for it is in a file, if there is anything."""

    model_config = ConfigDict(extra="forbid")
    name: str
    options: dict[str, Any]
    file: str | None
    sha256: str | None
    temperatures: list[float]
    temperature: float


class _Description(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: int
    segkit: str
    kind: Literal["segmenter", "ensemble"]
    task: Task
    classes: list[str]
    background: int | None
    reader: Reader
    members: list[_Member] = Field(min_length=1)
    combination: _Combined | None
    about: dict[str, Any]


def save(model: Segmenter | Ensemble, folder: str | Path) -> Path:
    """Write a model as a folder and return its path; :func:`load` gives an equal one.

    Every file is written under a temporary name and renamed, tensors before the description that names them, so
    that a stopped process leaves either the old model or the new one. Auxiliary heads are not saved.

    Raises:
        UsageError: the model was not built by name, or the folder holds something else.
    """
    folder = Path(folder)
    if not isinstance(model, Segmenter | Ensemble):
        raise UsageError(f"can't save {type(model).__name__}; expected a Segmenter or an Ensemble")
    check_place(folder)
    folder.mkdir(parents=True, exist_ok=True)
    replaced = _tensor_files(folder)
    names, segmenters = _members_of(model)
    members = []
    for name, segmenter in zip(names, segmenters, strict=True):
        if not isinstance(segmenter, Segmenter) or segmenter.architecture is None:
            raise UsageError(
                f"{name}: only models built with Segmenter.create can be saved; one from elsewhere is made anew, with "
                "its ensemble, where it is used"
            )
        file, digest = _write_tensors(folder, name, _tensors(segmenter))
        about = segmenter.about if isinstance(model, Ensemble) else {}
        members.append(_Member(name=name, file=file, sha256=digest, architecture=segmenter.architecture, about=about))
    combined = _combined(model, folder) if isinstance(model, Ensemble) else None
    description = _Description(
        format=FORMAT,
        segkit=segkit.__version__,
        kind="ensemble" if isinstance(model, Ensemble) else "segmenter",
        task=model.task,
        classes=list(model.classes),
        background=model.background,
        reader=model.reader,
        members=members,
        combination=combined,
        about=model.about,
    )
    _write(folder / "README.md", _card(description).encode())
    _write(folder / DESCRIPTION, description.model_dump_json(indent=2).encode())
    for stale in replaced - _files_of(description):
        (folder / stale).unlink(missing_ok=True)
    return folder


def check_place(folder: Path) -> None:
    """Raise UsageError where :func:`save` wouldn't write: a file, or a folder that holds something else."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / DESCRIPTION).is_file())):
        raise UsageError(f"{folder}: not empty and not a saved model; choose another folder")


def load(path: str | Path) -> AnyModel:
    """Give the model saved at ``path`` (a folder, its ``segkit.json``, or a zip of it), in eval mode on the CPU.

    An ``.onnx`` file of ``segkit export`` gives a model that is run by ONNX Runtime. A program of torch.export is
    refused: PyTorch runs code out of such a file when it opens it.

    Raises:
        ModelError: nothing there, damaged, of another format, its hashes don't match, or a part is a class of a module
            that isn't imported yet. Nothing in it is executed, and no module is imported because it names it.
    """
    path = Path(path)
    if path.name == DESCRIPTION:
        path = path.parent
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        return load_onnx(path)
    if path.suffix.lower() == ".pt2" and path.is_file():
        raise ModelError(
            f"{path}: a program of torch.export, which runs code when it is opened; where you trust it, open it by "
            "torch.export.load. Here, use the model it was made from, or its .onnx"
        )
    if path.is_dir():
        if not (path / DESCRIPTION).is_file() and (path / "model" / DESCRIPTION).is_file():
            raise ModelError(f"{path}: this is a run; its model is {path / 'model'}")
        return _load(path, lambda name, _limit: _read_file(path, name))
    if not path.exists():
        raise ModelError(f"{path}: no model there; expected a folder with {DESCRIPTION}, or a zip of one")
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: neither a model folder nor a zip of one")
    try:
        with zipfile.ZipFile(path) as archive:
            return _load(path, lambda name, limit: _read_zipped(archive, path, name, limit))
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise ModelError(f"{path}: this zip is damaged ({error}); copy it again") from None


def _load(path: Path, read: Callable[[str, int], bytes]) -> Segmenter | Ensemble:
    description = _described(path, read(DESCRIPTION, LARGEST_DESCRIPTION))

    def content(file: str, digest: str) -> bytes:
        if Path(file).name != file:
            raise ModelError(f"{path}: {DESCRIPTION} names the file {file!r} outside the folder")
        found = read(file, LARGEST_FILE)
        if hashlib.sha256(found).hexdigest() != digest:
            raise ModelError(f"{path}: {file} is damaged (its hash is not the one recorded); copy it again")
        return found

    members = [_segmenter(path, description, each, content(each.file, each.sha256)) for each in description.members]
    model: Segmenter | Ensemble = members[0]
    if description.kind == "ensemble":
        for member, described in zip(members, description.members, strict=True):
            member.about = described.about
        if description.combination is None:
            raise ModelError(f"{path}: {DESCRIPTION} doesn't say how the members are combined; copy it again")
        model = _ensemble(path, members, description, description.combination, content)
    model.about = description.about
    return model.eval()


def _described(path: Path, text: bytes) -> _Description:
    try:
        values = json.loads(text)
        found = values.get("format") if isinstance(values, dict) else None
        if found is None:
            raise ModelError(f"{path}: {DESCRIPTION} names no format: it is not a segkit model's")
        if found != FORMAT:
            raise ModelError(f"{path}: {DESCRIPTION} has format {found!r}, this segkit reads {FORMAT}")
        return _Description.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path}: {DESCRIPTION} is damaged at {where!r}: {first['msg']}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {DESCRIPTION} is not readable JSON ({error})") from None


def _segmenter(path: Path, description: _Description, member: _Member, content: bytes) -> Segmenter:
    for kind in ("backbone", "neck", "head", "depth", "bridge"):
        for part in _parts(member.architecture[kind]) if kind in member.architecture else ():
            if "weights" in part:
                raise ModelError(f"{path}: member {member.name!r} asks for weights from elsewhere; refused")
            _refuse_unknown_code(path, member, kind, str(part.get("name")))
    try:
        segmenter = Segmenter.create(
            **member.architecture,
            classes=description.classes,
            task=description.task,
            background=description.background,
            window=description.reader.window,
            slices=description.reader.slices,
            mpp=description.reader.mpp,
            **(_second_modality(description.reader) if "depth" in member.architecture else {}),
        )
        segmenter.load_state_dict(safetensors.torch.load(content))
    except (ValueError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(f"{path}: member {member.name!r} can't be built from its description: {first_line}") from error
    segmenter.background = description.background
    return segmenter


def _second_modality(reader: Reader) -> dict[str, Any]:
    return {"depth_format": reader.depth, "depth_channels": reader.depth_channels}


def _ensemble(
    path: Path,
    members: list[Segmenter],
    description: _Description,
    combined: _Combined,
    content: Callable[[str, str], bytes],
) -> Ensemble:
    first = members[0]
    try:
        combination = combining.create(
            combined.name, members=len(members), maps=first.maps, task=first.task, **combined.options
        )
        if _learnt(combination):
            tensors = safetensors.torch.load(content(combined.file or "", combined.sha256 or ""))
            combination.load_state_dict(tensors)
        return Ensemble(
            members,
            names=[member.name for member in description.members],
            combination=combination,
            temperatures=combined.temperatures,
            temperature=combined.temperature,
        )
    except (UsageError, ValueError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path / DESCRIPTION}: {str(error).strip().splitlines()[0]}") from None


def _combined(model: Ensemble, folder: Path) -> _Combined:
    """How the members are combined; what was learnt for it is written."""
    combination = model.combination
    learnt = _learnt(combination)
    # A member can't be called so: names of members begin with a letter or digit.
    file, digest = _write_tensors(folder, "_combination", learnt) if learnt else (None, None)
    return _Combined(
        name=combination.name,
        options=combination.options(),
        file=file,
        sha256=digest,
        temperatures=list(model.temperatures),
        temperature=model.temperature,
    )


def _learnt(combination: combining.Combination) -> dict[str, Tensor]:
    """What can't be said by its options, which people can read: all its tensors, or none."""
    state = combination.state_dict()
    if state.keys() <= combination.options().keys():
        return {}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _parts(named: Any) -> Iterator[dict[str, Any]]:
    """A part by name and options, and the parts that it is made of."""
    part = named if isinstance(named, dict) else {"name": named}
    yield part
    of = part.get("of")
    for each in of if isinstance(of, list) else ():
        yield from _parts(each)


def _refuse_unknown_code(path: Path, member: _Member, part: str, name: str) -> None:
    """Nothing, unless a part is a class of somebody's module that this program hasn't imported by itself.

    Importing a module runs it, and which one is run must not be for a downloaded file to choose.
    """
    module, colon, _ = name.partition(":")
    library = part in ("backbone", "depth") and module in ("timm", "smp")  # these are names of the toolkit's own
    if colon and not library and module not in sys.modules:
        raise ModelError(
            f"{path}: member {member.name!r} has the {part} {name!r}, code that is not part of the model; if you trust "
            f"it, 'import {module}' before loading (on the command line: segkit --import {module} …)"
        )


def _read_file(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{folder}: {name} is missing; this is not a whole model folder") from None
    except OSError as error:
        raise ModelError(f"{folder / name}: can't be read ({error.strerror})") from None


def _read_zipped(archive: zipfile.ZipFile, path: Path, name: str, limit: int) -> bytes:
    entries = [entry for entry in archive.infolist() if Path(entry.filename).name == name]
    if len(entries) != 1:
        raise ModelError(f"{path}: {name} occurs {len(entries)} times in this zip, expected once")
    if entries[0].file_size > min(limit, 100 * max(entries[0].compress_size, 1)):
        raise ModelError(f"{path}: {name} claims {entries[0].file_size} bytes unpacked; refused")
    return archive.read(entries[0])


def _tensor_files(folder: Path) -> set[str]:
    """Names of the tensor files of the model that is there now; only these are ours to remove."""
    try:
        files = _files_of(_described(folder, (folder / DESCRIPTION).read_bytes()))
    except (OSError, ModelError):
        return set()
    return {file for file in files if Path(file).name == file}


def _files_of(description: _Description) -> set[str]:
    combined = description.combination
    learnt = {combined.file} if combined is not None and combined.file is not None else set()
    return learnt | {member.file for member in description.members}


def member_digests(model: Segmenter | Ensemble) -> dict[str, str]:
    """SHA-256 of each member's tensors, by its name: what :func:`save` records of them."""
    names, segmenters = _members_of(model)
    contents = (safetensors.torch.save(_tensors(member)) for member in segmenters)
    return {name: hashlib.sha256(content).hexdigest() for name, content in zip(names, contents, strict=True)}


def _members_of(model: Segmenter | Ensemble) -> tuple[tuple[str, ...], list[nn.Module]]:
    if isinstance(model, Ensemble):
        return model.names, list(model.members)
    return ("model",), [model]


def _tensors(member: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in member.state_dict().items()
        if not name.startswith("auxiliary.")
    }


def _write_tensors(folder: Path, name: str, tensors: dict[str, Tensor]) -> tuple[str, str]:
    """The file's name and its SHA-256, which is in the name: so old tensors stay until their description goes."""
    content = safetensors.torch.save(tensors)
    digest = hashlib.sha256(content).hexdigest()
    file = f"{name}.{digest[:8]}.safetensors"
    _write(folder / file, content)
    return file, digest


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _card(description: _Description) -> str:
    """The model card: what it is, what it was trained on, how good it is, how to use it."""
    about = description.about
    trained = "".join(f"- {key}: {value}\n" for key, value in about.get("trained_on", {}).items())
    metrics = "".join(f"- {key}: {value}\n" for key, value in about.get("metrics", {}).items())
    parts = [
        (member.name, member.architecture["backbone"], member.architecture["neck"]) for member in description.members
    ]
    members = "".join(f"- {name}: {backbone['name']} backbone, {neck['name']} neck\n" for name, backbone, neck in parts)
    mpp = description.reader.mpp
    resolution = "" if mpp is None else f" at {mpp:g} microns per pixel"
    return (
        "---\nlibrary_name: segkit\npipeline_tag: image-segmentation\n---\n\n"
        f"# A segkit {description.kind}\n\n"
        f"Task: {description.task}. Classes: {', '.join(description.classes)}. "
        f"Input: {description.reader.channels} channels{resolution}.\n\n"
        f"## Members\n\n{members}\n"
        f"## Trained on\n\n{trained or '- not recorded'}\n\n## Measured\n\n{metrics or '- not recorded'}\n\n"
        "## Use\n\n```python\nimport segkit\n\n"
        'prediction = segkit.Predictor("path/of/this/folder").predict("image.png")\nprediction.save("masks")\n```\n'
    )
