"""The pixels of DICOM objects as they are stored, decompressed; colours as RGB."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gdcm  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from segkit.data.claims import jpeg_segments
from segkit.errors import DataError
from segkit.medical.dicom_tags import count_of, text_of

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"

EXTENDED = 0xC1  # the marker of a frame with up to twelve bits, coded one row of blocks after another
END = b"\xff\xd9"  # of a picture, in JPEG, JPEG-LS and JPEG 2000 alike
JPEG2000 = b"\xff\x4f\xff\x51"  # a codestream's first two markers


def stored_frames(dataset: Dataset, path: Path, frames: Sequence[int] | None) -> Iterator[NDArray[Any]]:
    """Yield the stored values of some frames in rising order: [rows, columns, 1], or [rows, columns, 3] in RGB.

    Unused bits are cleared and signs set; a palette's colours are looked up. Nothing is rescaled.

    Args:
        dataset: an object with its pixels.
        path: its file, for errors.
        frames: numbers from 0 in rising order; None for all.

    Raises:
        DataError: the compression, or the kind of colours, isn't read here, or the pixels are damaged.
    """
    photometric = text_of(dataset, "PhotometricInterpretation", path)
    samples = count_of(dataset, "SamplesPerPixel", path, default=1)
    if photometric not in (*GREY, *COLOUR, PALETTE) or samples != (3 if photometric in COLOUR else 1):
        raise DataError(
            f"{path}: its pixels have {samples} samples of the kind {photometric or 'unknown'}, which isn't read here; "
            "export it in grey (MONOCHROME2) or as RGB"
        )
    syntax = _syntax(dataset)
    shape = count_of(dataset, "Rows", path), count_of(dataset, "Columns", path)
    _check_decoder(syntax, path)
    try:
        if syntax.is_encapsulated:
            _check_streams(dataset, syntax, shape, path)
        if syntax == JPEGExtended12Bit and count_of(dataset, "BitsStored", path) > 8:
            decoded: Iterable[NDArray[Any]] = _twelve_bits(dataset, frames, shape)
        elif frames is None:  # pydicom can't set signs right frame by frame
            decoded = pixel_array(dataset, allow_excess_frames=False).reshape(-1, *shape, *[3] * (samples == 3))
        else:
            decoded = iter_pixels(dataset, indices=frames)
        for frame in decoded:
            if photometric == PALETTE:
                frame = _looked_up(frame, dataset)
            frame = frame.astype(frame.dtype.newbyteorder("="), copy=False)
            yield frame[..., None] if frame.ndim == 2 else frame
    except DataError:
        raise
    except Exception as error:  # decoders raise what they like
        raise DataError(
            f"{path}: its pixels ({syntax.name}) can't be decoded: damaged, or not as the standard has them; export "
            "the file again, uncompressed"
        ) from error


def _syntax(dataset: Dataset) -> UID:
    """How the pixels are stored; of data sets without a preamble, how their tags are."""
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian
    return UID(dataset.file_meta.TransferSyntaxUID)


def _check_decoder(syntax: UID, path: Path) -> None:
    try:
        if syntax == JPEGExtended12Bit or get_decoder(syntax).is_available:
            return
    except NotImplementedError:
        pass
    raise DataError(
        f"{path}: its pixels are stored as {syntax.name}, which isn't read here; export it uncompressed (Explicit VR "
        "Little Endian), or as JPEG Lossless, JPEG-LS or JPEG 2000"
    )


def _check_streams(dataset: Dataset, syntax: UID, shape: tuple[int, int], path: Path) -> None:
    """Refuse (DataError) compressed pictures of another size than the tags say, and ones that are cut short.

    Decoders make room for what a picture says of itself, and print remarks of their own on one that ends too soon.
    """
    for stream in _streams(dataset):
        if syntax != RLELossless and END not in stream.rstrip(b"\0")[-16:]:
            raise DataError(f"{path}: its pixels are cut short; copy or export it again")
        found = None
        if syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
            found = _jpeg_size(stream)
        elif syntax in JPEG2000TransferSyntaxes:
            found = _jpeg2000_size(stream)
        if found is not None and found != shape:
            raise DataError(
                f"{path}: Rows and Columns say {shape[0]:,} × {shape[1]:,} pixels, its compressed picture "
                f"{found[0]:,} × {found[1]:,}: it is damaged; export it again"
            )


def _streams(dataset: Dataset) -> Iterator[bytes]:
    """The compressed picture of each frame."""
    count = int(dataset.get("NumberOfFrames") or 1)
    offsets = None
    if dataset.get("ExtendedOffsetTable") and dataset.get("ExtendedOffsetTableLengths"):
        offsets = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    yield from generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=offsets)


def _jpeg_size(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns by a frame's header, JPEG-LS's among them; None where there is none."""
    for marker, at in jpeg_segments(stream):
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return int.from_bytes(stream[at + 5 : at + 7], "big"), int.from_bytes(stream[at + 7 : at + 9], "big")
    return None


def _jpeg2000_size(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns by the codestream's size marker, wherever a file format's boxes have put it."""
    at = stream.find(JPEG2000)
    if at < 0 or len(stream) < at + 24:
        return None
    right, bottom, left, top = (int.from_bytes(stream[at + 8 + 4 * n : at + 12 + 4 * n], "big") for n in range(4))
    return bottom - top, right - left


def _twelve_bits(dataset: Dataset, frames: Sequence[int] | None, shape: tuple[int, int]) -> Iterator[NDArray[Any]]:
    """Frames of JPEG with twelve bits, by GDCM itself: pydicom hands it only those with eight."""
    wanted = None if frames is None else set(frames)
    kind = np.dtype(np.int16 if dataset.PixelRepresentation else np.uint16)
    unused = 16 - int(dataset.BitsStored)
    for number, stream in enumerate(_streams(dataset)):
        if wanted is None or number in wanted:
            stored = _decoded_by_gdcm(_sequential(stream), shape).astype(np.uint16)
            yield (stored << unused).view(kind) >> unused


def _decoded_by_gdcm(stream: bytes, shape: tuple[int, int]) -> NDArray[Any]:
    at = next(at for marker, at in jpeg_segments(stream) if marker == EXTENDED)
    bits = stream[at + 4]
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((shape[1], shape[0], 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))))
    # Told another number of bits than the picture's own, it would first try a decoder for that, which prints a remark.
    image.SetPixelFormat(gdcm.PixelFormat(1, bits, bits, bits - 1, 0))
    text = image.GetBuffer()
    if text is None:
        raise ValueError("the compressed picture is damaged")
    values = np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8 if bits == 8 else "<u2")
    return values.reshape(shape)


def _sequential(stream: bytes) -> bytes:
    """The same with the scan's header as all sequential pictures have it: GDCM prints a remark on others."""
    segments = jpeg_segments(stream)
    at = segments[-1][1] if segments and segments[-1][0] == 0xDA else None
    if at is None or not any(marker == EXTENDED for marker, _ in segments):
        return stream
    end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return stream[: end - 3] + b"\x00\x3f\x00" + stream[end:]


def _looked_up(frame: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """The colours [rows, columns, 3] of a palette's numbers, with eight bits."""
    colours = apply_color_lut(frame, dataset)
    return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
