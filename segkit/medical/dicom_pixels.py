"""The pixels of DICOM objects as they are stored, decompressed; colours as RGB."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gdcm  # type: ignore[import-untyped]  # a library without hints
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
)

from segkit.data.claims import jpeg_segments
from segkit.errors import DataError
from segkit.medical.dicom_streams import SCAN, check_streams, jpeg_size, streams_of
from segkit.medical.dicom_tags import GREY, count_of, text_of

COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"

DECODERS: dict[tuple[UID, ...], str] = {
    (JPEGBaseline8Bit, JPEGExtended12Bit): "pillow",
    tuple(JPEGLSTransferSyntaxes): "pyjpegls",
    (JPEG2000, JPEG2000Lossless): "pylibjpeg",
}
TWELVE = "twelve"
"""In the place of a decoder's name: our own way for JPEG with twelve bits."""


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
            check_streams(dataset, syntax, path)
        plugin = _plugin(dataset, syntax, path)
        if plugin == TWELVE:
            decoded: Iterable[NDArray[Any]] = _twelve_bits(dataset, frames, shape)
        elif frames is None:  # pydicom can't set signs right frame by frame
            values = pixel_array(dataset, decoding_plugin=plugin, allow_excess_frames=False)
            decoded = values.reshape(-1, *shape, *[3] * (samples == 3))
        else:
            decoded = iter_pixels(dataset, indices=frames, decoding_plugin=plugin)
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
        if get_decoder(syntax).is_available:
            return
    except NotImplementedError:
        pass
    raise DataError(
        f"{path}: its pixels are stored as {syntax.name}, which isn't read here; export it uncompressed (Explicit VR "
        "Little Endian), or as JPEG Lossless, JPEG-LS or JPEG 2000"
    )


def _plugin(dataset: Dataset, syntax: UID, path: Path) -> str:
    """Which of pydicom's decoders to use, "" for whichever there is.

    GDCM reads nearly everything, but a damaged picture may make it print remarks or end the whole process: it is taken
    for what no other decoder reads, lossless JPEG and twelve bits.
    """
    if syntax == JPEGExtended12Bit and count_of(dataset, "BitsStored", path) > 8:
        return TWELVE
    ours = next((name for syntaxes, name in DECODERS.items() if syntax in syntaxes), "")
    return ours if ours in get_decoder(syntax).available_plugins else ""


def _twelve_bits(dataset: Dataset, frames: Sequence[int] | None, shape: tuple[int, int]) -> Iterator[NDArray[Any]]:
    """Frames of JPEG with twelve bits, by GDCM itself: pydicom hands it only those with eight."""
    wanted = None if frames is None else set(frames)
    kind = np.dtype(np.int16 if dataset.PixelRepresentation else np.uint16)
    unused = 16 - int(dataset.BitsStored)
    for number, stream in enumerate(streams_of(dataset)):
        if wanted is None or number in wanted:
            stored = _decoded_by_gdcm(_sequential(stream), shape).astype(np.uint16)
            yield (stored << unused).view(kind) >> unused


def _decoded_by_gdcm(stream: bytes, shape: tuple[int, int]) -> NDArray[Any]:
    _, bits = jpeg_size(stream)
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
    marker, at = jpeg_segments(stream)[-1]
    if marker != SCAN:
        return stream
    end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return stream[: end - 3] + b"\x00\x3f\x00" + stream[end:]


def _looked_up(frame: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """The colours [rows, columns, 3] of a palette's numbers, with eight bits."""
    colours = apply_color_lut(frame, dataset)
    return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
