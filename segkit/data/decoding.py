"""From the bytes of a picture's file to its pixels [H, W, C], with the decoder that reads this kind in full."""

import io
import logging
import re
from collections.abc import Callable
from importlib.util import find_spec

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from segkit.data.jpeg2000 import JPEG2000, by_tiles

Pixels = NDArray[np.uint8 | np.uint16 | np.float32]

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong with a file is said in our one line

ORIENTATION = 0x0112  # the tag's number, the same in EXIF and TIFF

SLIDES = {"svs", "ndpi", "scn", "philips", "bif", "qpi", "avs"}
ASIDE = re.compile(r"\b(label|macro|thumbnail|overview|map)\b", re.IGNORECASE)
"""Names of what lies beside a slide: its label, which may show a patient's name, and small pictures of the whole."""
REDUCED, MASK = 1, 4  # bits of a page's kind: a smaller version of another page, and what of it is to be seen

GREY_WITH_ALPHA = 4  # a PNG's kind of colour, in its header's 26th byte

COMPRESSIONS = (tifffile.COMPRESSION.NONE, tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)
PHOTOMETRICS = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.RGB)
"""What tifffile decodes by itself."""

JPEG = tifffile.COMPRESSION.JPEG
LIBTIFFS = (2, 3, 4, 5, 6, 7, 32773)  # fax, LZW, JPEG, and runs of equal bytes
"""Further compressions that every build of libtiff decodes, those of Pillow and OpenCV too."""


def decode(data: bytes) -> Pixels:
    """Pixels of a PNG, JPEG, BMP or WebP file, as stored: RGB order, no alpha; an error of any kind where damaged."""
    if (data[12:16] == b"VP8X" and data[20] & 2) or (data[:4] == b"\x89PNG" and b"acTL" in data[: data.find(b"IDAT")]):
        raise ValueError("it is an animation; one picture is expected")
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise ValueError("its data is damaged: copy or export it again")
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels[..., ::-1]
    if data[:4] == b"\x89PNG" and data[25] == GREY_WITH_ALPHA:  # which comes as three equal channels
        pixels = pixels[..., :1]
    return _plain_type(pixels)


def decode_tiff(file: tifffile.TiffFile, data: Callable[[], bytes]) -> Pixels:
    """Pixels of a TIFF, as stored: by tifffile any number of channels and any type; by other decoders the rest.

    Args:
        file: the open file.
        data: gives its bytes, for the other decoders.
    """
    series = picture_series(file)
    page = series.keyframe
    others = other_pictures(file)
    if others:
        raise ValueError(f"it holds {1 + others} pictures of different kinds; one picture is expected: save it alone")
    stack = f"it is a stack of shape {'×'.join(map(str, series.shape))}; one picture is expected"
    if len(series.pages) > 1 and "C" not in series.axes:  # else pages are said to be channels
        raise ValueError(f"{stack}; channels are taken where the file calls them so, or from a single page")
    missing = sum(part is None for part in series.pages)
    if missing:
        raise ValueError(
            f"{missing} of its {len(series.pages)} pages are missing; if it is of a set of files, put them together"
        )
    if page.compression in JPEG2000 and len(series.pages) == 1:
        pixels, axes = _squeeze(by_tiles(page, file.filehandle), "YXS")
    elif is_plain(page):
        pixels, axes = _squeeze(series.asarray(), series.axes)
    elif len(series.pages) > 1:
        raise ValueError(stack)
    else:
        found = _by_libtiff(page, _without_orientation(data(), file))
        if found is not None:
            return found
        pixels, axes = _squeeze(series.asarray(), series.axes)  # by imagecodecs
    if len(axes) == 3 and axes[0] in "CSQ":  # channels first
        pixels, axes = np.moveaxis(pixels, 0, -1), axes[1:] + axes[0]
    if not axes.startswith("YX") or len(axes) > 3:
        raise ValueError(stack)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    alpha = sum(sample in (1, 2) for sample in page.extrasamples)  # associated, unassociated
    if alpha and axes.endswith("S"):
        pixels = pixels[..., : pixels.shape[2] - alpha]
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind in "ub":
        pixels = np.invert(pixels)
    return _plain_type(pixels)


def picture_series(file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The pages that are a TIFF's picture: the first; of a slide the largest that are neither label nor overview."""
    found = [series for series in file.series if not _is_aside(file, series)] or file.series
    return max(found, key=lambda series: series.keyframe.size) if file.flags & SLIDES else found[0]


def other_pictures(file: tifffile.TiffFile) -> int:
    """How many pictures a TIFF holds beside its own; smaller versions and masks of it, marked so, are none.

    Nor are a slide's label and overview, which not all scanners mark.
    """
    if file.flags & SLIDES:
        return 0
    own = picture_series(file)
    others = [series for series in file.series if series is not own and not _is_aside(file, series)]
    kinds = [int(getattr(series.keyframe, "subfiletype", 0)) for series in others]
    plain = sum(kind & (REDUCED | MASK) == 0 for kind in kinds)
    return plain if int(getattr(own.keyframe, "subfiletype", 0)) & (REDUCED | MASK) == 0 else len(others)


def _is_aside(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Whether a file that names its pictures says that one is a label or an overview."""
    return bool(file.flags & {*SLIDES, "ome"} and ASIDE.search(series.name or ""))


def is_plain(page: tifffile.TiffPage) -> bool:
    """Whether tifffile decodes a page by itself."""
    return page.compression in COMPRESSIONS and page.photometric in PHOTOMETRICS


def tiff_orientation(file: tifffile.TiffFile) -> int:
    """What a TIFF's orientation tag says; 1 (upright) where it says nothing that is defined."""
    tag = picture_series(file).keyframe.tags.get(ORIENTATION)
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins so is a TIFF, classic or big."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _by_libtiff(page: tifffile.TiffPage, data: bytes) -> Pixels | None:
    """Pixels of a TIFF's first page by Pillow or OpenCV; None where imagecodecs is there for what they don't decode."""
    usual = page.compression in (*COMPRESSIONS, *LIBTIFFS) and not (page.compression == JPEG and page.bitspersample > 8)
    # OpenCV would multiply 8-bit colours by alpha and pass over damage; Pillow cuts 16-bit colours to 8 bits.
    pillows = page.bitspersample == 8 and page.photometric in (*PHOTOMETRICS, tifffile.PHOTOMETRIC.YCBCR)
    if usual:
        return _by_pillow(data) if pillows else decode(data)
    if pillows:
        try:
            return _by_pillow(data)
        except Exception:  # this build of Pillow doesn't know the compression
            pass
    name = getattr(page.compression, "name", page.compression)
    if page.photometric not in PHOTOMETRICS and page.compression != JPEG:
        colours = getattr(page.photometric, "name", page.photometric)
        raise ValueError(f"it is compressed by {name}, in colours of kind {colours}; save it in RGB")
    if find_spec("imagecodecs") is None:
        raise ValueError(
            f"it is compressed by {name} ({page.bitspersample} bits), which another library decodes: "
            'pip install "segkit[slides]"'
        )
    return None


def _by_pillow(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as picture:
        pixels = np.asarray(picture.convert("RGB") if picture.mode == "YCbCr" else picture)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels[..., : 3 if pixels.shape[2] >= 3 else 1]  # not the alpha


def _without_orientation(data: bytes, file: tifffile.TiffFile) -> bytes:
    """The same TIFF, said to be upright, for decoders that turn TIFFs by themselves."""
    tag = file.pages.first.tags.get(ORIENTATION)
    if tag is None:
        return data
    upright = (1).to_bytes(tag.valuebytecount, "little" if file.byteorder == "<" else "big")
    return data[: tag.valueoffset] + upright + data[tag.valueoffset + tag.valuebytecount :]


def _squeeze(pixels: NDArray[np.generic], axes: str) -> tuple[NDArray[np.generic], str]:
    keep = [i for i, axis in enumerate(axes) if pixels.shape[i] > 1 or axis in "YX"]
    return pixels.reshape([pixels.shape[i] for i in keep]), "".join(axes[i] for i in keep)


def _plain_type(pixels: NDArray[np.generic]) -> Pixels:
    """uint8 and uint16 as they are, one bit as 0 and 255, everything else float32."""
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind in "iuf":
        return pixels.astype(np.float32)
    raise ValueError(f"values of type {pixels.dtype} are no intensities")
