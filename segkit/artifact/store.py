"""The files of a saved model: written whole or not at all, read from a folder or a zip, and checked by their hashes."""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from segkit.errors import ModelError, UsageError
from segkit.files import TEMPORARY, write_whole

DESCRIPTION, README = "segkit.json", "README.md"
TENSORS = re.compile(r".+\.[0-9a-f]{8}\.safetensors")  # as ``ModelFolder.keep`` names them
LARGEST_FILE = 16 << 30  # bytes; a zip that claims more for one file is refused before memory is taken
LARGEST_DESCRIPTION = 16 << 20

Tensors = dict[str, Tensor]


class TensorFile(BaseModel):
    """A file of tensors in a model's folder, and the SHA-256 of its content."""

    model_config = ConfigDict(extra="forbid")
    file: str
    sha256: str


@dataclass(frozen=True)
class ModelFolder:
    """A folder that a model is written to."""

    folder: Path
    written: set[str] = field(default_factory=set)

    def keep(self, name: str, tensors: Tensors) -> TensorFile:
        """Write tensors and say where they are.

        Their hash is in the file's name: so old tensors stay until their description goes.
        """
        content = safetensors.torch.save(portable(tensors))
        digest = hashlib.sha256(content).hexdigest()
        file = f"{name}.{digest[:8]}.safetensors"
        write_whole(self.folder / file, content)
        self.written.add(file)
        return TensorFile(file=file, sha256=digest)


@dataclass(frozen=True)
class ModelFiles:
    """A folder or zip that a model is read from.

    Attributes:
        path: what it is called in messages.
        read: the content of one of its files by name, of at most so many bytes.
    """

    path: Path
    read: Callable[[str, int], bytes]

    def values(self) -> dict[str, Any]:
        """What ``segkit.json`` says; ModelError where it is no JSON object."""
        try:
            values = json.loads(self.read(DESCRIPTION, LARGEST_DESCRIPTION))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ModelError(f"{self.path}: {DESCRIPTION} is not readable JSON ({error})") from None
        return values if isinstance(values, dict) else {}

    def tensors(self, file: str, sha256: str) -> Tensors:
        """The tensors of a file; ModelError where it is outside the folder or its hash is not the one recorded."""
        if Path(file).name != file:
            raise ModelError(f"{self.path}: {DESCRIPTION} names the file {file!r} outside the folder")
        found = self.read(file, LARGEST_FILE)
        if hashlib.sha256(found).hexdigest() != sha256:
            raise ModelError(f"{self.path}: {file} is damaged (its hash is not the one recorded); copy it again")
        return safetensors.torch.load(found)


def check_place(folder: Path) -> None:
    """Raise UsageError where a model isn't written: a file, or a folder that holds something else.

    What a stopped process left half written there is nothing else.
    """
    if folder.exists() and (not folder.is_dir() or (_holds_files(folder) and not (folder / DESCRIPTION).is_file())):
        raise UsageError(f"{folder}: not empty and not a saved model; choose another folder")


def _holds_files(folder: Path) -> bool:
    return any(not TEMPORARY.fullmatch(path.name) for path in folder.iterdir() if path not in written_alone(folder))


def written_alone(folder: Path) -> set[Path]:
    """Tensor files and a README that a stopped process wrote before their description."""
    if (folder / DESCRIPTION).exists():
        return set()
    tensors = {path for path in folder.iterdir() if TENSORS.fullmatch(path.name)}
    return tensors | ({folder / README} if tensors and (folder / README).is_file() else set())


def tensor_files(folder: Path) -> set[str]:
    """Names of the tensor files of the model that is in a folder now; only these are ours to remove."""
    try:
        values = json.loads((folder / DESCRIPTION).read_bytes())
    except (OSError, ValueError, RecursionError):
        return set()
    return {file for file in _named(values) if Path(file).name == file and file.endswith(".safetensors")}


def _named(values: Any) -> Iterator[str]:
    """The files that a description names, wherever in it a :class:`TensorFile` is."""
    if isinstance(values, dict):
        if isinstance(values.get("file"), str) and isinstance(values.get("sha256"), str):
            yield values["file"]
        values = list(values.values())
    for value in values if isinstance(values, list) else ():
        yield from _named(value)


def portable(tensors: Tensors) -> Tensors:
    """The same tensors as a file takes them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


@contextmanager
def opened(path: Path) -> Iterator[ModelFiles]:
    """The model's files at a folder, or in a zip of one.

    Raises:
        ModelError: nothing there, neither of the two, or a damaged zip.
    """
    if path.is_dir():
        if not (path / DESCRIPTION).is_file() and (path / "model" / DESCRIPTION).is_file():
            raise ModelError(f"{path}: this is a run; its model is {path / 'model'}")
        yield ModelFiles(path, lambda name, _limit: _read_file(path, name))
        return
    if not path.exists():
        raise ModelError(f"{path}: no model there; expected a folder with {DESCRIPTION}, or a zip of one")
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: neither a model folder nor a zip of one")
    try:
        with zipfile.ZipFile(path) as archive:
            yield ModelFiles(path, lambda name, limit: _read_zipped(archive, path, name, limit))
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise ModelError(f"{path}: this zip is damaged ({error}); copy it again") from None


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
