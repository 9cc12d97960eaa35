"""What a run over many files has done so far, one line a file, so that a killed run can go on where it was."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from segkit.errors import UsageError
from segkit.files import atomic_path, exclusive, writing_to

MANIFEST = "manifest.jsonl"
UNDONE = {"status": "error", "error": "not predicted again yet", "run": ""}
"""What a run that begins anew makes of the entries that it finds."""


class Entry(BaseModel):
    """What became of one input.

    Attributes:
        input: its path below the closest folder that holds all inputs, with forward slashes.
        sha256: of its bytes; None where they can't be read.
        status: ``ok``, ``error``, or ``skipped``: no image of its own, which is no fault.
        outputs: the files written, below the output folder, with the SHA-256 of each.
        error: one line, None where all went well; of what was skipped why.
        seconds: of reading, predicting and writing.
        run: fingerprint of the model and of all settings that the outputs depend on.
        depth: SHA-256 of the depth file that was used, or of another second modality's; None where there was none.
        name: the stem of its outputs' names; empty where it has none.
        measures: of each class, see :func:`segkit.measuring.table.figures`; None where they weren't asked for.
        notes: what was decided on reading it.
        burned_in: whether text may be in its pixels.
        trust: what the model says of its own prediction, see :class:`segkit.trusting.verdict.Trust`; None where it
            wasn't taught that, or there is no prediction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    sha256: str | None
    status: Literal["ok", "error", "skipped"]
    outputs: dict[str, str]
    error: str | None
    seconds: float
    run: str
    depth: str | None = None
    trust: dict[str, Any] | None = None
    name: str = ""
    measures: dict[str, dict[str, Any]] | None = None
    notes: list[str] = []
    burned_in: bool = False

    def is_done(self, sha256: str | None, depth: str | None, run: str, out: Path) -> bool:
        """Whether the same input was predicted by the same run, and every output below ``out`` is as it was left."""
        same = self.status == "ok" and (self.sha256, self.depth, self.run) == (sha256, depth, run)
        return same and all(file_hash(out / name) == digest for name, digest in self.outputs.items())


class Manifest:
    """``manifest.jsonl`` of an output folder, held against other processes while it is open.

    Each entry is a line that is on disk before the next picture's: a killed process leaves at most a torn last line,
    which is no entry. While a run goes on an input may have two entries, of which the later one counts.

    Args:
        path: the file.
        resume: keep what is in it; otherwise it begins empty.

    Attributes:
        before: the entries that it had, by input.
        earlier: those of them that are kept.

    Raises:
        UsageError: there is nothing to resume, another process has it open, or it can't be written.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        if resume:
            check_resumable(path)
        with writing_to(path):
            self._file = path.open("ab+")
        try:
            if not exclusive(self._file):
                raise UsageError(f"{path.parent}: another process is predicting into it; wait for it or end it")
            self._file.seek(0)
            content = self._file.read()
            self.before = {entry.input: entry for entry in _entries(content)}
            self._file.truncate(content.rfind(b"\n") + 1 if resume else 0)
            if not resume:  # what there was is remembered: should this run be killed, the next one removes it
                self._file.write(b"".join(_line(entry.model_copy(update=UNDONE)) for entry in self.before.values()))
                self._file.flush()
        except BaseException:
            self._file.close()
            raise
        self.earlier = self.before if resume else {}

    def append(self, entry: Entry) -> None:
        """Add an entry, on disk when this returns."""
        with writing_to(self.path):
            self._file.write(_line(entry))
            self._file.flush()
            os.fsync(self._file.fileno())

    def finish(self, entries: Sequence[Entry]) -> list[Entry]:
        """Replace all entries by these, one an input, in the order of the inputs; earlier ones of others follow.

        Returns all of them.
        """
        inputs = {entry.input for entry in entries}
        others = [entry for entry in self.earlier.values() if entry.input not in inputs and entry.run]
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(b"".join(map(_line, [*entries, *others])))
            self._file.close()  # Windows replaces no open file
        return [*entries, *others]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what a full disk refused is refused once more
            self._file.close()


def check_resumable(path: Path) -> None:
    """Refuse (UsageError) to go on where no manifest is."""
    if not path.is_file():
        raise UsageError(f"nothing to resume: there is no {path}; leave --resume out to begin")


def is_run(folder: Path) -> bool:
    """Whether predictions were written into a folder, by its manifest: others have files of that name, too."""
    path = folder / MANIFEST
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return bool(list(_entries(file.readline())))


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file's bytes, None where it can't be read; of a pipe, which would be waited for, too."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def files_hash(files: Sequence[Path]) -> str | None:
    """The same of several files in their order; None where one can't be read."""
    if len(files) == 1:
        return file_hash(files[0])
    digests = [file_hash(file) for file in files]
    return None if None in digests else hashlib.sha256("".join(map(str, digests)).encode()).hexdigest()


def _line(entry: Entry) -> bytes:
    absent = {name for name in ("depth", "trust", "name", "measures", "notes", "burned_in") if not getattr(entry, name)}
    return entry.model_dump_json(exclude=absent or None).encode() + b"\n"


def _entries(content: bytes) -> Iterable[Entry]:
    """The entries of all whole lines; what isn't an entry was not done."""
    for line in content.splitlines(keepends=True):
        if line.endswith(b"\n"):
            try:
                yield Entry.model_validate_json(line)
            except ValidationError:
                continue
