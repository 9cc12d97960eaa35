"""Pictures that are refused by their header alone, before memory is taken for them.

A few bytes can claim to be a picture of gigabytes ("decompression bomb"). Such a file is refused where it has fewer
bytes than any picture of that size, or where decoding it would take more than a limit.
"""

import struct
import zlib
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import tifffile

from segkit.data.decoding import picture_series
from segkit.errors import DataError

AT_A_TIME = 1 << 20  # bytes unpacked to see how many there are

LIMIT = 1 << 30
"""Bytes that a picture may take when it is decoded at once, unless the caller says otherwise: 18,900 × 18,900 in RGB.

While one such picture is predicted two more are read ahead, which is what a machine with 8 GB can bear.
"""

DEFLATE = 1032  # bytes that a byte of deflate stands for at most (zlib's technical details)
LZW = 1400  # TIFF's codes have up to 12 bits and stand for up to 3,837 bytes, each new one for one byte more
PACKBITS = 64  # 128 bytes by a pair
JPEG = 512  # pixels: each block of 8 × 8 takes a bit at least

RATIOS: dict[int, int] = {
    tifffile.COMPRESSION.NONE: 1,
    tifffile.COMPRESSION.ADOBE_DEFLATE: DEFLATE,
    tifffile.COMPRESSION.DEFLATE: DEFLATE,
    tifffile.COMPRESSION.LZW: LZW,
    tifffile.COMPRESSION.PACKBITS: PACKBITS,
}
"""Bytes that a byte stands for at most; for compressions that aren't here there is no such number."""


@dataclass(frozen=True)
class Claim:
    """What a header says of a picture.

    Attributes:
        height, width: in pixels.
        decoded: bytes that its pixels take.
        needed: bytes below which no file of this kind holds such a picture, 0 where that can't be told.
        ends: the offset at which the last of its pixels end, 0 where that can't be told.
    """

    height: int
    width: int
    decoded: int
    needed: int = 0
    ends: int = 0


def check_claim(claim: Claim, size: int, path: Path, limit: int) -> None:
    """Refuse (DataError) a file of ``size`` bytes that can't hold what it claims, or that takes more than ``limit``."""
    pixels = f"{claim.height:,} × {claim.width:,} pixels"
    if claim.needed > size:
        raise DataError(
            f"{path}: the file is cut short, or damaged: {size:,} bytes can't hold the {pixels} that it claims; copy "
            "or export it again"
        )
    if claim.decoded > limit:
        raise DataError(
            f"{path}: {pixels} take {claim.decoded / 2**30:,.1f} GiB to decode at once, more than the limit of "
            f"{limit / 2**30:,.1f} GiB; cut it into smaller ones, or, to predict it, save it as a tiled TIFF, which "
            "is read part by part, or raise the limit (limit=BYTES, of segkit predict --limit GIB)"
        )
    if claim.ends > size:
        raise DataError(f"{path}: the file is cut short: {size:,} bytes of at least {claim.ends:,}; copy it again")


def check_inflated(segment: bytes, path: Path, limit: int) -> None:
    """Refuse (DataError) a strip or tile, compressed by deflate, that unpacks to more than ``limit`` bytes.

    Libraries unpack it whole before they look how much was claimed. One that is too short for that isn't looked at.
    """
    if len(segment) * DEFLATE <= limit:
        return
    stream, found = zlib.decompressobj(), 0
    while segment and not stream.eof:
        try:
            found += len(stream.decompress(segment, AT_A_TIME))
        except zlib.error:
            return  # the decoder will say what it thinks of it
        if found > limit:
            raise DataError(
                f"{path}: a part of it unpacks to more than the limit of {limit / 2**30:,.1f} GiB, whatever size the "
                "picture claims: damaged, or made to fill memory; export it again"
            )
        segment = stream.unconsumed_tail


def claim_of(data: bytes) -> Claim | None:
    """What a PNG, JPEG, BMP or WebP file says of itself; None where the header is damaged or of another kind."""
    kinds = {b"\x89PNG": _png, b"\xff\xd8": _jpeg, b"BM": _bmp, b"RIFF": _webp}
    for signature, read in kinds.items():
        if data.startswith(signature):
            try:
                return read(data)
            except (struct.error, KeyError, IndexError):  # the decoder will say what it thinks of it
                return None
    return None


def claim_of_tiff(file: tifffile.TiffFile, *, level: int = 0) -> Claim:
    """What an open TIFF says of its picture, or of a level of its pyramid, as it is decoded.

    Tiles without any bytes are read as empty, so they need none.
    """
    series = picture_series(file).levels[level]
    page = series.keyframe
    counts = np.asarray(page.databytecounts)
    present = counts > 0
    raw = page.imagelength * ceil(page.imagewidth * page.samplesperpixel * page.bitspersample / 8)
    if not present.all():
        raw = min(raw, int(present.sum()) * int(np.prod(page.chunks)) * page.bitspersample // 8)
    ratio = RATIOS.get(page.compression, 0)
    if page.compression == tifffile.COMPRESSION.JPEG:
        ratio = JPEG * page.samplesperpixel * ceil(page.bitspersample / 8)
    if page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression == tifffile.COMPRESSION.NONE:
        ratio = 4  # colours at a quarter of the pixels, or fewer
    decoded = int(np.prod(series.shape, dtype=object)) * ceil(page.bitspersample / 8)
    if page.is_tiled:  # tiles are decoded whole, whatever part of them the picture covers
        decoded = max(decoded, len(counts) * int(np.prod(page.chunks, dtype=object)) * ceil(page.bitspersample / 8))
    ends = int((np.asarray(page.dataoffsets) + counts)[present].max(initial=0))
    return Claim(page.imagelength, page.imagewidth, decoded, raw // ratio if ratio else 0, ends)


def _png(data: bytes) -> Claim:
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    row = 1 + ceil(width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind] / 8)  # 1 for the row's filter
    channels = 1 if kind in (0, 4) else 3
    decoded = height * width * channels * (2 if depth == 16 else 1)
    return Claim(height, width, decoded, height * row // DEFLATE, _png_end(data))


def _png_end(data: bytes) -> int:
    """Where the last chunk ends, by the lengths that they claim: decoders take memory for one before they read it."""
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, at = data[at + 4 : at + 8], at + 12 + length
        if name == b"IEND":
            break
    return at


def _jpeg(data: bytes) -> Claim | None:
    for marker, at in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame's header, whatever its coding
            depth, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            channels = 1 if components == 1 else 3
            decoded = height * width * channels * (1 if depth == 8 else 2)
            return Claim(height, width, decoded, height * width // JPEG)
    return None


def _bmp(data: bytes) -> Claim:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the header of OS/2
        width, height, _, bits, compression = *struct.unpack_from("<HHHH", data, 18), 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    width, height = abs(width), abs(height)  # a negative height: rows from the top down
    stride = (width * bits + 31) // 32 * 4
    packed = compression in (1, 2)  # run lengths, where jumps pass over pixels
    return Claim(height, width, height * width * 3, 0 if packed else height * stride)


def _webp(data: bytes) -> Claim:
    """Without a bound on what bytes can hold: a picture of one colour takes none."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return Claim(height, width, height * width * 4)  # its decoder works with alpha


def jpeg_segments(data: bytes) -> list[tuple[int, int]]:
    """Marker and offset of a JPEG's segments up to its first scan, that one last where the header is whole."""
    at, found = 2, []
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        found.append((marker, at))
        if marker == 0xDA:
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return found
