"""Pixels from picture files, and from pixels the float32 array in 0..1 that every model takes."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, model_validator

from segkit.errors import DataError

# A broken file is explained by our one line; OpenCV, whose call for this moved in 4.14, would print its own before it.
(cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(0)
Image.MAX_IMAGE_PIXELS = 1 << 30  # OpenCV's limit; with its own, Pillow would refuse the tags of what OpenCV reads

Pixels = NDArray[np.uint8 | np.uint16 | np.float32]
Window = tuple[float, float] | Literal["picture"]
"""Intensities that become 0 and 1; "picture": each picture's own 0.1 and 99.9 percentiles."""

PERCENTILES = (0.1, 99.9)
LOOKED_AT = 1 << 22  # values that percentiles are taken from, evenly spread where there are more

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""Suffixes of the files read as two-dimensional pictures."""

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
ORIENTATION = 0x0112  # the tag's number, the same in EXIF and TIFF
PNG_END = b"IEND\xae\x42\x60\x82"  # the last chunk's name and checksum, always the same


class Reader(BaseModel):
    """How a model wants its pictures: float32 [H, W, channels] in 0..1.

    Args:
        channels: 3 repeats a grey picture, 1 takes the luma of a colour picture; any number is taken as it comes.
        window: (low, high) in the file's own units, scaled to 0..1 and clipped; ``"picture"``: each picture's own 0.1
            and 99.9 percentiles over all channels; None scales by the type's range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(default=3, ge=1)
    window: Window | None = None

    @model_validator(mode="after")
    def _window_rises(self) -> "Reader":
        if isinstance(self.window, tuple) and not self.window[0] < self.window[1]:
            raise ValueError(f"window {list(self.window)} must rise from low to high")
        return self

    def read(self, path: str | Path) -> NDArray[np.float32]:
        """Return the picture as float32 [H, W, channels] in 0..1; raise DataError where that can't be done."""
        pixels = read_pixels(path)
        try:
            return self.scale(self.channels_of(pixels))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error

    def channels_of(self, pixels: Pixels) -> Pixels:
        """Return [H, W, channels] of the same type from [H, W] or [H, W, C]; raise ValueError where none is meant."""
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        found = pixels.shape[2]
        if found == self.channels:
            return pixels
        if found == 1 and self.channels == 3:
            return np.repeat(pixels, 3, axis=2)
        if found == 3 and self.channels == 1:
            luma = pixels.astype(np.float32) @ LUMA
            if pixels.dtype != np.float32:
                luma = np.rint(luma)
            return luma.astype(pixels.dtype)[..., None]
        raise ValueError(f"the picture has {found} channels; the model takes {self.channels}")

    def scale(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return float32 in 0..1 of the same shape: by the window, or uint8 / 255, uint16 / 65535, floats as they are.

        Raises:
            ValueError: floats outside 0..1 without a window: what their range means can't be guessed.
        """
        if self.window is not None:
            low, high = own_window(pixels) if self.window == "picture" else self.window
            scaled = (pixels.astype(np.float64) - low) / (high - low)
            return np.clip(scaled, 0, 1).astype(np.float32)
        if pixels.dtype == np.uint8:
            return np.divide(pixels, 255, dtype=np.float32)
        if pixels.dtype == np.uint16:
            return np.divide(pixels, 65535, dtype=np.float32)
        if pixels.size and (pixels.min() < 0 or pixels.max() > 1):
            raise ValueError(
                f"values run from {pixels.min():g} to {pixels.max():g}; without an intensity window they must lie in "
                "0..1: set the window (low and high)"
            )
        return pixels.astype(np.float32, copy=False)


def own_window(pixels: Pixels) -> tuple[float, float]:
    """The 0.1 and 99.9 percentiles of a picture's values; of a constant picture the value and the next number.

    >>> import numpy as np
    >>> own_window(np.arange(1001, dtype=np.uint16))
    (1.0, 999.0)
    """
    values = pixels.reshape(-1)
    low, high = (float(value) for value in np.percentile(values[:: -(-values.size // LOOKED_AT)], PERCENTILES))
    return (low, high) if low < high else (low, low + 1)


def read_pixels(path: str | Path, *, upright: bool = True) -> Pixels:
    """Return a picture's raw values [H, W, C]: uint8, uint16 or float32; RGB order, C = 1 for grey, no alpha.

    Args:
        path: a PNG, JPEG, TIFF, BMP or WebP file.
        upright: turn the picture as its EXIF (or TIFF) orientation tag says.

    Raises:
        DataError: the file is missing, empty, cut short, undecodable or holds values that are not finite.

    A JPEG or PNG without its end marker is refused, because decoders fill what is missing with grey and only warn.
    Damage in the middle of a JPEG can't be told from content and is not found.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    if not data:
        raise DataError(f"{path}: the file is empty; copy or export it again")
    if _cut_short(data):
        raise DataError(f"{path}: the file is cut short; copy or export it again")

    decode = _decode_tiff if _is_tiff(data) else _decode
    try:
        pixels, orientation = decode(path, data)
    except DataError:
        raise
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{path}: can't be decoded as a picture ({_one_line(error)})") from error
    if not np.isfinite(pixels).all():
        raise DataError(f"{path}: holds values that are not finite (NaN or infinity)")
    return np.ascontiguousarray(TURNS[orientation](pixels) if upright else pixels)


def orientation_of(path: str | Path) -> int:
    """Return the EXIF orientation of a picture, 1 (upright) to 8; 1 where it says nothing.

    Raises:
        DataError: the picture has more pixels than are read here.
    """
    try:
        with Image.open(path) as picture:
            tag = picture.getexif().get(ORIENTATION, 1)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: too many pixels; cut the picture into parts ({_one_line(error)})") from error
    except (OSError, UnidentifiedImageError):
        return 1
    return tag if tag in TURNS else 1


TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, 1),
}
"""From stored pixels to the upright picture, by EXIF orientation."""


def _cut_short(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return PNG_END not in data
    if data.startswith(b"\xff\xd8"):
        # A preview inside the header has an end marker of its own, so look from the first scan on; within a scan
        # 0xFF is always escaped, so a marker there is the picture's own.
        scan = _first_scan(data)
        return scan < 0 or data.find(b"\xff\xd9", scan) < 0
    return False


def _first_scan(data: bytes) -> int:
    """Offset of a JPEG's first scan, found by walking the segments; -1 where the header itself is cut."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # padding
            at += 1
        elif data[at + 1] == 0xDA:
            return at
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return -1


def _is_tiff(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _decode(path: Path, data: bytes) -> tuple[Pixels, int]:
    return _by_opencv(data), orientation_of(path)


def _by_opencv(data: bytes) -> Pixels:
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise ValueError("the decoder gave up")
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels[..., ::-1]
    return _plain_type(pixels)


def _by_pillow(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as picture:
        pixels = np.asarray(picture.convert("RGB") if picture.mode == "YCbCr" else picture)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels[..., : 3 if pixels.shape[2] >= 3 else 1]  # not the alpha


def _decode_tiff(path: Path, data: bytes) -> tuple[Pixels, int]:
    """tifffile for what it decodes by itself: any number of channels, any type; other decoders for the rest."""
    with tifffile.TiffFile(path) as file:
        page, series = file.pages.first, file.series[0]
        stack = f"it is a stack of shape {'×'.join(map(str, series.shape))}; one picture is expected"
        tag = page.tags.get(ORIENTATION)
        orientation = int(tag.value) if tag is not None and tag.value in TURNS else 1
        own = (tifffile.COMPRESSION.NONE, tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)
        known = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.RGB)
        if page.compression not in own or page.photometric not in known:
            if len(series.pages) > 1:
                raise ValueError(stack)
            data = _without_orientation(data, file)
            # OpenCV would multiply 8-bit colours by alpha and pass over damage; Pillow cuts 16-bit colours to 8 bits.
            pillows = page.bitspersample == 8 and page.photometric in (*known, tifffile.PHOTOMETRIC.YCBCR)
            return _by_pillow(data) if pillows else _by_opencv(data), orientation
        pixels, axes = _squeeze(series.asarray(), series.axes)
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
    return _plain_type(pixels), orientation


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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
