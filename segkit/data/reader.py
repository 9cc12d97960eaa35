"""Pixels from picture files, and from pixels the float32 array in 0..1 that every model takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from segkit.checked import Checked
from segkit.data.claims import LIMIT, check_claim, claim_of, claim_of_tiff, jpeg_segments
from segkit.data.decoding import ORIENTATION, decode, decode_tiff, is_tiff, tiff_orientation
from segkit.data.decoding import Pixels as Pixels
from segkit.data.depth_format import DepthFormat
from segkit.data.slices import Slices
from segkit.data.suffixes import TIFF
from segkit.data.tiff_rows import check_parts, only_in_parts, tiff_rows
from segkit.errors import DataError
from segkit.one_line import one_line

if TYPE_CHECKING:
    from torch import Tensor

# A broken file is explained by our one line; OpenCV, whose call for this moved in 4.14, would print its own before it.
(cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(0)
Image.MAX_IMAGE_PIXELS = 1 << 30  # OpenCV's limit; with its own, Pillow would refuse the tags of what OpenCV reads

Window = tuple[float, float] | Literal["picture", "file"]
"""Intensities that become 0 and 1.

"picture": each picture's, or each volume's channel's, own 0.1 and 99.9 percentiles; "file": the window that a DICOM
file says it is to be shown with.
"""

NAMES = {
    **{key: f"data.{key}" for key in ("channels", "window", "slices", "mpp")},
    "depth_channels": "channels of depth",
    **{key: key for key in ("depth_unit", "depth_invalid", "depth_focal_baseline")},
}
"""What people call a reader's settings."""

PERCENTILES = (0.1, 99.9)
LOOKED_AT = 1 << 22  # values that percentiles are taken from, evenly spread where there are more

SLIDES = (".svs", ".ndpi", ".scn", ".bif", ".qptiff")
"""Suffixes of TIFFs that scanners of slides write."""
PICTURES = (".png", ".jpg", ".jpeg", *TIFF, ".bmp", ".webp", *SLIDES)
"""Suffixes of the files read as two-dimensional pictures."""

ROUNDING = 1e-6  # by which fractions may lie outside 0..1, as sums and resizing leave them

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
PNG_END = b"IEND\xae\x42\x60\x82"  # the last chunk's name and checksum, always the same


class Reader(Checked):
    """How a model wants its pictures: float32 [H, W, channels] in 0..1.

    Args:
        channels: 3 repeats a grey picture, 1 takes the luma of a colour picture; any number is taken as it comes.
        window: (low, high) in the file's own units, scaled to 0..1 and clipped; ``"picture"``: each picture's own 0.1
            and 99.9 percentiles over all channels (of a volume: of each); ``"file"``: the one that a DICOM file names;
            None scales by the type's range.
        slices: how volumes are looked at; None: the model takes pictures, and of volumes axial slices.
        depth: what values in files of depth, or of another second modality, mean unless they are said to mean something
            else; None: the model takes images alone.
        depth_channels: of the second modality, validity not counted; 0 for none.
        mpp: microns per pixel that pictures of known resolution are brought to, see
            :func:`segkit.data.picture.open_picture`; None: they are taken as they are.
    """

    channels: int = Field(default=3, ge=1)
    window: Window | None = None
    slices: Slices | None = None
    depth: DepthFormat | None = None
    depth_channels: int = Field(default=0, ge=0)
    mpp: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @property
    def metric(self) -> bool:
        """Whether values of the second modality are metres."""
        return self.depth is not None and self.depth.metric

    @property
    def of_images(self) -> "Reader":
        """The same without a second modality."""
        return self.model_copy(update={"depth": None, "depth_channels": 0})

    @property
    def in_one_plane(self) -> "Reader":
        """The same, looking at volumes in its first plane alone."""
        if self.slices is None:
            return self
        return self.model_copy(update={"slices": self.slices.model_copy(update={"planes": self.slices.planes[:1]})})

    def differences(self, other: "Reader") -> str:
        """The settings that differ in another one, with both values, in the words of recipes and ``dataset.yaml``."""
        ours, theirs = ({**each.model_dump(mode="json"), **_of_depth(each)} for each in (self, other))
        return ", ".join(
            f"{name} ({json.dumps(ours.get(key))} and {json.dumps(theirs.get(key))})"
            for key, name in NAMES.items()
            if ours.get(key) != theirs.get(key)
        )

    @property
    def inputs(self) -> int:
        """Channels of image and second modality behind one another, validity last."""
        return self.channels + (self.depth_channels + 1 if self.depth_channels else 0)

    def apart(self, image: "Tensor", depth: "Tensor | None") -> "tuple[Tensor, Tensor | None]":
        """Image [B, channels, H, W] and second modality, which may have come as further channels of the image."""
        if depth is None and self.depth_channels and image.ndim == 4 and image.shape[1] == self.inputs:
            return image[:, : self.channels], image[:, self.channels :]
        return image, depth

    @model_validator(mode="after")
    def _window_rises(self) -> "Reader":
        if isinstance(self.window, tuple) and not self.window[0] < self.window[1]:
            raise ValueError(f"window {list(self.window)} must rise from low to high")
        return self

    def read(self, path: str | Path) -> NDArray[np.float32]:
        """Return the picture as float32 [H, W, channels] in 0..1; raise DataError where that can't be done."""
        pixels = self.pixels_of(path)
        try:
            return self.scale(self.channels_of(pixels))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error

    def pixels_of(self, path: str | Path) -> Pixels:
        """Return a picture's raw values [H, W, C] as :func:`read_pixels`, at the resolution that the model wants."""
        if self.mpp is None:
            return read_pixels(path)
        from segkit.data.picture import open_picture

        return open_picture(path, mpp=self.mpp).whole()

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
        counted = f"{found} channel{'s' * (found > 1)}"
        raise ValueError(f"the picture has {counted}; the model takes {self.channels} (data.channels in its recipe)")

    def scale(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return float32 in 0..1 of the same shape: by the window, or uint8 / 255, uint16 / 65535, floats as they are.

        Raises:
            ValueError: floats outside 0..1 without a window, by more than rounding: what their range means can't be
                guessed.
        """
        if self.window is not None:
            if self.window == "file":
                raise ValueError("the model shows each file by the window that it names, but this one names none")
            low, high = own_window(pixels) if self.window == "picture" else self.window
            scaled = (pixels.astype(np.float64) - low) / (high - low)
            return np.clip(scaled, 0, 1).astype(np.float32)
        if pixels.dtype == np.uint8:
            return np.divide(pixels, 255, dtype=np.float32)
        if pixels.dtype == np.uint16:
            return np.divide(pixels, 65535, dtype=np.float32)
        low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 1.0)
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise ValueError(
                f"values run from {low:.8g} to {high:.8g}; without an intensity window they must lie in 0..1: set the "
                "window (low and high)"
            )
        found: NDArray[np.float32] = pixels.astype(np.float32, copy=False)
        return found.clip(0, 1) if low < 0 or high > 1 else found


def _of_depth(reader: Reader) -> dict[str, Any]:
    said = {} if reader.depth is None else reader.depth.model_dump(mode="json")
    return {f"depth_{key}": value for key, value in said.items()}


def own_window(pixels: Pixels) -> tuple[float, float]:
    """The 0.1 and 99.9 percentiles of a picture's values; of a constant picture the value and the next number.

    >>> import numpy as np
    >>> own_window(np.arange(1001, dtype=np.uint16))
    (1.0, 999.0)
    """
    values = pixels.reshape(-1)
    low, high = (float(value) for value in np.percentile(values[:: -(-values.size // LOOKED_AT)], PERCENTILES))
    return (low, high) if low < high else (low, low + 1)


def read_pixels(path: str | Path, *, upright: bool = True, limit: int = LIMIT, finite: bool = True) -> Pixels:
    """Return a picture's raw values [H, W, C]: uint8, uint16 or float32; RGB order, C = 1 for grey, no alpha.

    Args:
        path: a PNG, JPEG, TIFF, BMP or WebP file.
        upright: turn the picture as its EXIF (or TIFF) orientation tag says.
        limit: bytes that the file and its pixels may take; :func:`segkit.data.picture.open_picture` reads larger TIFFs.
        finite: refuse NaN and infinity, which mean something in depth alone.

    Raises:
        DataError: the file is missing, empty, cut short, undecodable, larger than the limit, can't hold the size that
            it claims, or holds values that are not finite.

    A JPEG or PNG without its end marker is refused, because decoders fill what is missing with grey and only warn.
    Damage in the middle of a JPEG can't be told from content and is not found.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            tiff = is_tiff(file.read(4))
        if size > limit and not tiff:
            raise DataError(
                f"{path}: a file of {size:,} bytes, more than the limit of {limit:,}; raise it (limit=BYTES, "
                "of segkit predict --limit GIB)"
            )
        data = b"" if tiff else path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    try:
        pixels, orientation = _read_tiff(path, limit) if tiff else (_decode(path, data, limit), orientation_of(path))
    except DataError:
        raise
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{path}: can't be decoded as a picture ({one_line(error)})") from error
    if finite and not np.isfinite(pixels).all():
        raise DataError(f"{path}: holds values that are not finite (NaN or infinity)")
    return np.ascontiguousarray(TURNS[orientation](pixels) if upright else pixels)


def orientation_of(path: str | Path | BinaryIO) -> int:
    """Return the EXIF orientation of a picture's file, 1 (upright) to 8; 1 where it says nothing.

    Raises:
        DataError: the picture has more pixels than are read here.
    """
    try:
        with Image.open(path) as picture:
            tag = picture.getexif().get(ORIENTATION, 1)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: too many pixels; cut the picture into parts ({one_line(error)})") from error
    except Exception:  # no picture of Pillow's, or damaged EXIF, of which it raises what it likes
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


def _read_tiff(path: Path, limit: int) -> tuple[Pixels, int]:
    with tifffile.TiffFile(path) as file:
        check_claim(claim_of_tiff(file), path.stat().st_size, path, limit)
        check_parts(file, path, limit)
        rows = tiff_rows(path, file, limit) if only_in_parts(file) else None
        pixels = decode_tiff(file, path.read_bytes) if rows is None else rows.rows(0, rows.height)
        return pixels, tiff_orientation(file)


def _decode(path: Path, data: bytes, limit: int) -> Pixels:
    if not data:
        raise DataError(f"{path}: the file is empty; copy or export it again")
    if _cut_short(data):
        raise DataError(f"{path}: the file is cut short; copy or export it again")
    claim = claim_of(data)
    if claim is None:
        raise ValueError("it is no PNG, JPEG, TIFF, BMP or WebP file")
    check_claim(claim, len(data), path, limit)
    return decode(data)


def _cut_short(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return PNG_END not in data
    if data.startswith(b"\xff\xd8"):
        # A preview inside the header has an end marker of its own, so look from the first scan on; within a scan
        # 0xFF is always escaped, so a marker there is the picture's own.
        *_, (marker, scan) = [(0, 0), *jpeg_segments(data)]
        return marker != 0xDA or data.find(b"\xff\xd9", scan) < 0
    return False
