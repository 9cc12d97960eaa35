"""A case's files in a dataset: copied, linked to, or put together from a file for each channel."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from segkit.data.listing import is_volume
from segkit.data.reader import PICTURES, read_pixels
from segkit.data.suffixes import suffix_of
from segkit.errors import DataError, UsageError
from segkit.importing.grids import Grid, difference, picture_sizes
from segkit.importing.layout import Case, Put

PARTS = ("images", "masks")
APART = "masks that don't lie on their images ('segkit check' says more)"


def place(case: Case, folder: Path, staged: Path, put: Put) -> list[tuple[str, str]]:
    """Write a case's image and mask into a dataset's folder; return what to say of it, and the details.

    Args:
        case: what to write.
        folder: the dataset's, with ``images`` and ``masks`` in it.
        staged: a folder of the same file system where files lie until the case is whole, nobody else's meanwhile.
        put: copies a file, or links to it.

    Raises:
        DataError: a file can't be read, isn't of a type that is read, or doesn't fit the others; nothing is written.
    """
    for part in PARTS:
        (staged / part).mkdir(parents=True, exist_ok=True)
    try:
        placed = case.mask.place(staged / "masks", case.name, put)
        apart = difference(_place_image(case, staged / "images", put), placed.grid)
    except DataError:
        shutil.rmtree(staged)
        raise
    for part in PARTS:
        for entry in (staged / part).iterdir():
            entry.rename(folder / part / entry.name)
    said = [] if placed.remark is None else [(placed.remark, case.name)]
    return said if apart is None else [*said, (APART, f"{case.name} ({apart})")]


def copy(source: Path, target: Path) -> None:
    """Copy a file's bytes; raise DataError where it can't be read."""
    try:
        with source.open("rb"):
            pass
    except OSError as error:
        raise DataError(f"{source}: can't be read ({error.strerror or error})") from error
    shutil.copyfile(source, target)


def link(source: Path, target: Path) -> None:
    """Make a symbolic link to a file; raise UsageError where there are none."""
    try:
        target.symlink_to(source.resolve())
    except OSError as error:
        raise UsageError(
            f"{source}: no link to it can be made ({error.strerror or error}); leave --link out"
        ) from error


def _place_image(case: Case, folder: Path, put: Put) -> Grid:
    first = case.image[0]
    suffix = suffix_of(first)
    if suffix not in PICTURES or is_volume(first):
        from segkit.importing.volumes import place_volume

        return place_volume(case.image, folder, case.name, put)
    sizes = picture_sizes(first)
    if len(case.image) == 1:
        put(first, folder / f"{case.name}{suffix}")
    else:
        _merge_pictures(case.image, folder / f"{case.name}.tif")
    return sizes


def _merge_pictures(files: Sequence[Path], target: Path) -> None:
    """Grey pictures [H, W, 1] → one TIFF [H, W, C]."""
    channels = [read_pixels(file) for file in files]
    first = channels[0]
    for file, channel in zip(files, channels, strict=True):
        if channel.shape[2] != 1:
            raise DataError(f"{file}: it has {channel.shape[2]} channels itself; a file of channels has one")
        if channel.shape != first.shape or channel.dtype != first.dtype:
            raise DataError(
                f"{file}: {channel.shape[1]}×{channel.shape[0]} of {channel.dtype}, {files[0].name} is "
                f"{first.shape[1]}×{first.shape[0]} of {first.dtype}; channels lie pixel on pixel"
            )
    pixels = np.concatenate(channels, axis=2)
    tifffile.imwrite(target, pixels, photometric="minisblack", planarconfig="contig", compression="zlib")
