"""Files that are whole or absent: written to a temporary name, flushed, then renamed."""

import errno
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from segkit.errors import UsageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

TEMPORARY = re.compile(r"\.[0-9a-f]{32}(\..*)?")  # as ``temporary_path`` names them
UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG),
}
WINDOWS = sys.platform == "win32"
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds, while a virus scanner looks at a new file on Windows
CURES = {
    errno.ENOSPC: "make room and go on (predict and train with --resume), or choose another place",
    errno.ENAMETOOLONG: "it is named after its input: give that a shorter name",
}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write; when the block ends well, it is flushed to disk and becomes ``path``.

    The temporary file is hidden, in the same folder and with the same suffix, because writers go by suffix and a
    rename is atomic within one file system only. An exception in the block removes it and leaves ``path`` as it was;
    a killed process leaves at most the hidden file. Missing folders above ``path`` are made.

    Raises:
        UsageError: there is no room, or the place can't be written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "a" / "note.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a" / "note.txt").read_text()
    'whole'
    """
    path = Path(path)
    temporary = temporary_path(path.parent, path.suffix)
    with writing_to(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as file:
                _flush(file.fileno())
            move(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write text, in UTF-8, or bytes as the file ``path`` by :func:`atomic_path`, whose errors it raises."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def move(source: Path, target: Path) -> None:
    """Give a file or folder another name; on Windows again where a scanner holds what was written just now."""
    for pause in (*PAUSES, None) if WINDOWS else (None,):
        try:
            source.replace(target)
            return
        except PermissionError:
            if pause is None:
                raise
            time.sleep(pause)


def exclusive(file: IO[Any]) -> bool:
    """Whether an open file is this process's alone from now on, until it is closed or the process ends.

    So is it where the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            file.seek(1 << 40)  # where nothing is read or written
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
        else:
            # Unlike flock's, this lock ends with the process itself, not with the last of its loader's workers.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def temporary_path(folder: Path, suffix: str = "") -> Path:
    """A hidden name in a folder that nothing bears; not by tempfile, whose files are private to the user."""
    return folder / f".{uuid4().hex}{suffix}"


def remove_temporary(folder: Path, pattern: str = "**/.*") -> None:
    """Remove what killed processes left half done in a folder and all below it; by ``".*"`` in the folder alone."""
    for path in list(folder.glob(pattern)):
        if TEMPORARY.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def writing_to(path: str | Path) -> Iterator[None]:
    """Turn a full disk, or a place that may not be written to, into a UsageError that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        if isinstance(error.filename, str) and not _belongs(Path(error.filename).absolute(), Path(path).absolute()):
            raise UsageError(f"{error.filename}: can't be read or written ({error.strerror})") from error
        cure = CURES.get(error.errno or 0, "choose another place")
        raise UsageError(f"{path}: can't be written ({error.strerror}); {cure}") from error


def check_writable(folder: Path) -> None:
    """Raise UsageError where a folder can't be made or written into: better now than when all is computed.

    Nothing is left behind; the trial is made in the nearest folder that is there.
    """
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UsageError(f"{folder}: can't write there ({error.strerror}); choose another output folder") from None


def _belongs(file: Path, place: Path) -> bool:
    """Whether a file is written for the sake of a place: within it, on the way to it, or before it has its name."""
    beside = file.parent == place.parent and file.name.startswith(".")
    return beside or file.is_relative_to(place) or place.is_relative_to(file)


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut; Windows can't open folders and needs no such call."""
    if WINDOWS:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _flush(descriptor)
    finally:
        os.close(descriptor)


def _flush(descriptor: int) -> None:
    """To the disk, where the file system can: folders shared with a virtual machine, or by FUSE, may not."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
