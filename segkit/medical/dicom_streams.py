"""The compressed pictures inside DICOM objects, looked at before a decoder is given them."""

from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes, RLELossless

from segkit.data.claims import jpeg_segments
from segkit.errors import DataError
from segkit.medical.dicom_tags import count_of

END = b"\xff\xd9"  # of a picture, in JPEG, JPEG-LS and JPEG 2000 alike
JPEG2000 = b"\xff\x4f\xff\x51"  # a codestream's first two markers
SCAN = 0xDA  # the marker of a JPEG's scan
FRAMES = {0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # those of its frame, in JPEG-LS and in all kinds of JPEG


def streams_of(dataset: Dataset) -> Iterator[bytes]:
    """The compressed picture of each frame."""
    count = int(dataset.get("NumberOfFrames") or 1)
    offsets = None
    if dataset.get("ExtendedOffsetTable") and dataset.get("ExtendedOffsetTableLengths"):
        offsets = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    yield from generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=offsets)


def check_streams(dataset: Dataset, syntax: UID, path: Path) -> None:
    """Refuse (DataError) compressed pictures that end too soon, or are of another size or kind than the tags say.

    Decoders make room for what a picture says of itself. Of one that contradicts itself they print what they think, and
    GDCM may end the whole process.
    """
    said = (
        count_of(dataset, "Rows", path),
        count_of(dataset, "Columns", path),
        count_of(dataset, "SamplesPerPixel", path, default=1),
    )
    allocated = count_of(dataset, "BitsAllocated", path)
    for stream in streams_of(dataset):
        if syntax == RLELossless:
            continue
        if END not in stream.rstrip(b"\0")[-16:]:
            raise DataError(f"{path}: its pixels are cut short; copy or export it again")
        if syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
            found, bits = jpeg_size(stream)
        else:
            found, bits = _jpeg2000_size(stream)
        if found != said or bits > allocated:
            raise DataError(
                f"{path}: its tags say {_told(said, allocated)} (rows, columns, samples), its compressed picture says "
                f"{_told(found, bits)}: it is damaged; export it again"
            )


def jpeg_size(stream: bytes) -> tuple[tuple[int, int, int], int]:
    """Rows, columns, samples of a pixel, and bits, by the one frame of a JPEG; 0 where it has none, or several."""
    segments = jpeg_segments(stream)
    frames = [at for marker, at in segments if marker in FRAMES]
    if len(frames) != 1 or segments[-1][0] != SCAN:
        return (0, 0, 0), 0
    head = stream[frames[0] + 4 :]
    size = int.from_bytes(head[1:3], "big"), int.from_bytes(head[3:5], "big"), head[5]
    return size, head[0]


def _jpeg2000_size(stream: bytes) -> tuple[tuple[int, int, int], int]:
    """The same of JPEG 2000, by the codestream's size marker, wherever a file format's boxes have put it."""
    at = stream.find(JPEG2000)
    if at < 0 or len(stream) < at + 43:
        return (0, 0, 0), 0
    right, bottom, left, top = (int.from_bytes(stream[at + 8 + 4 * n : at + 12 + 4 * n], "big") for n in range(4))
    samples = int.from_bytes(stream[at + 40 : at + 42], "big")
    return (bottom - top, right - left, samples), (stream[at + 42] & 0x7F) + 1


def _told(size: tuple[int, int, int], bits: int) -> str:
    return f"{size[0]:,} × {size[1]:,} × {size[2]:,} of {bits} bits"
