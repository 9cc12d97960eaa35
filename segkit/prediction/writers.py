"""Masks, maps and pictures as files, each whole or absent.

What is written for an image STEM.EXT (of a TIFF or slide .tif, of a volume its own format, of everything else PNG):

=======================  ===================================================================================
STEM_mask.EXT            class ids, 8-bit; .png: with a palette; .tif: a pyramid where it is large
STEM_mask/CLASS.EXT      multilabel: one 0/1 mask a class, as in a dataset's own ``masks/`` folder
STEM_overlay.png         RGB
STEM_depth.png           RGB: depth, the mask without it, the mask with it
STEM_probability.EXT     .tif: float32. .png: 16-bit, 65535 is probability 1
STEM_probability.tif     more than one map: float32, one page a class named by its description, whatever EXT is
STEM_entropy.EXT         .tif: float32, nats. .png: 16-bit, 65535 is the largest possible entropy (ln K, or ln 2)
STEM_disagreement.EXT    as the entropy
=======================  ===================================================================================

A 16-bit PNG says its scale in its own ``Description``. Volumes (:mod:`segkit.medical.writing`) have float32 maps, with
a class a channel; of DICOM the mask is one segmentation object for all classes, the probability a fractional one, and
other maps are NIfTI.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from segkit.data.picture import Resolution
from segkit.data.reader import SLIDES
from segkit.data.scaled import AT_ONCE
from segkit.data.suffixes import DICOM, TIFF
from segkit.errors import UsageError
from segkit.files import atomic_path
from segkit.given_path import given_path
from segkit.medical.slide_writing import resolution_tags, write_pyramid
from segkit.medical.writing import LIKE
from segkit.task import Task


def output_folder(folder: str | Path) -> Path:
    """The folder, made where it wasn't there, after one trial file: better now than when all is computed.

    Raises:
        UsageError: it is no name, can't be made or can't be written into.
    """
    folder = given_path(folder, "out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{folder}: can't write there ({error.strerror}); choose another output folder") from None
    return folder


def output_paths(
    folder: Path, name: str, kinds: Sequence[str], *, suffix: str, task: Task, classes: Sequence[str], maps: int
) -> dict[str, tuple[Path, ...]]:
    """Where each kind of output of one image goes; several paths for a multilabel mask, otherwise one.

    Args:
        folder: the output folder.
        name: stem of the outputs' names.
        kinds: any of mask, overlay, depth, preview, probability, entropy, disagreement.
        suffix: the input's, with its dot; empty for an array.

    Raises:
        UsageError: a class's name can't name a file.
    """
    extension = {**LIKE, **dict.fromkeys(SLIDES, ".tif"), DICOM: DICOM}.get(suffix.lower(), ".png")
    paths: dict[str, tuple[Path, ...]] = {}
    for kind in kinds:
        if kind == "mask" and task == "multilabel" and extension != DICOM:
            paths[kind] = tuple(folder / f"{name}_mask" / f"{_filename(c)}{extension}" for c in classes)
        elif kind in ("overlay", "depth", "preview"):
            paths[kind] = (folder / f"{name}_{kind}.png",)
        elif kind in ("entropy", "disagreement") and extension == DICOM:
            paths[kind] = (folder / f"{name}_{kind}.nii.gz",)
        elif kind == "probability" and maps > 1 and extension == ".png":
            paths[kind] = (folder / f"{name}_probability.tif",)
        else:
            paths[kind] = (folder / f"{name}_{kind}{extension}",)
    return paths


def _filename(label: str) -> str:
    if not label.strip(". ") or any(character in '/\\:*?"<>|' or ord(character) < 32 for character in label):
        raise UsageError(
            f"class {label!r} can't name a mask's file; rename the class, without any of / \\ : * ? \" < > |"
        )
    return label


def write_mask(
    path: Path, labels: NDArray[np.uint8], palette: NDArray[np.uint8], *, mpp: Resolution | None = None
) -> None:
    """Write class ids [H, W] as an indexed PNG, where people see the colours [labels, 3], or as a plain 8-bit TIFF.

    A TIFF has no palette, because most programs then read its colours instead of the ids. A large one is a pyramid of
    tiles, and ``mpp``, microns per pixel down and across, is in its tags.
    """
    if path.suffix in TIFF:
        with atomic_path(path) as temporary:
            write_pyramid(temporary, labels, mpp)
        return
    image = Image.fromarray(np.ascontiguousarray(labels))
    image.putpalette(palette.tobytes())
    _write_png(path, image)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write uint8 RGB [H, W, 3] as PNG."""
    _write_png(path, Image.fromarray(np.ascontiguousarray(picture)))


def write_map(
    path: Path, values: NDArray[np.float32], *, largest: float, meaning: str, mpp: Resolution | None = None
) -> None:
    """Write one map [H, W]: as it is into a TIFF, or as 16 bits of its share of ``largest`` into a PNG.

    The PNG's description gives the scale and the ``meaning``; values above ``largest`` become 65535.
    """
    if path.suffix in TIFF:
        write_pages(path, values[None], [meaning], mpp=mpp)
        return
    pixels = np.zeros(values.shape, np.uint16)
    for top in range(0, len(values) if largest > 0 else 0, AT_ONCE):  # in parts: the values may be a map of a file
        shares = np.asarray(values[top : top + AT_ONCE]) / largest
        pixels[top : top + AT_ONCE] = np.rint(shares.clip(0, 1) * 65535)
    description = PngInfo()
    description.add_text("Description", f"{meaning} = pixel * {largest:.6g} / 65535")
    _write_png(path, Image.fromarray(pixels), description)


def write_pages(path: Path, maps: NDArray[np.float32], names: Sequence[str], *, mpp: Resolution | None = None) -> None:
    """Write float32 maps [K, H, W] as the pages of one TIFF, each described by its name."""
    large = maps.nbytes > 2**31  # plain TIFF counts its bytes with 32 bits
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=large) as file:
        for name, page in zip(names, maps, strict=True):
            file.write(
                np.ascontiguousarray(page, np.float32),
                description=name.encode(),
                photometric="minisblack",
                compression="deflate",
                metadata=None,
                **resolution_tags(mpp),
            )


def _write_png(path: Path, image: Image.Image, description: PngInfo | None = None) -> None:
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=description)
