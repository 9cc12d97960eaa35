"""What the text at the beginning of an NRRD or MetaImage file says, and whether its voxels are all there.

ITK reads such files, but says little of damaged ones, prints it, and takes what is compressed without its checksum.
"""

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from segkit.data.claims import AT_A_TIME, DEFLATE
from segkit.errors import DataError
from segkit.medical.stored import check_file, cut_short

NRRD, META = (".nrrd", ".nhdr"), (".mha", ".mhd")
LONGEST = 1 << 20  # bytes of a header
MOST_AXES = 10  # that MetaImage has
ZLIB_OR_GZIP = 47  # what inflate takes, told apart by the first bytes

PLAIN, PACKED = ("raw",), ("gzip", "gz")
"""Encodings of an NRRD whose length is looked at here."""


@dataclass(frozen=True)
class TextHeader:
    """What comes before the voxels.

    Attributes:
        fields: values by names in small letters without spaces.
        data: the file of the voxels.
        offset: where they begin.
        packed: whether they are compressed; None where they are text, or in another way not looked at here.
    """

    fields: dict[str, str]
    data: Path
    offset: int
    packed: bool | None


def read_text_header(path: Path) -> TextHeader:
    """Return what a .nrrd, .nhdr, .mha or .mhd file says before its voxels.

    Raises:
        DataError: it is no such file, or its voxels are in several files or in one that isn't there.
    """
    check_file(path)
    with path.open("rb") as file:
        head = file.read(LONGEST)
    nrrd = path.suffix.lower() in NRRD
    header = _nrrd(path, head) if nrrd else _meta(path, head)
    _check_axes(path, header.fields, *(("dimension", "sizes") if nrrd else ("ndims", "dimsize")))
    return header


def check_whole(header: TextHeader, wanted: int) -> None:
    """Refuse (DataError) voxels of fewer than ``wanted`` bytes, or compressed ones with another checksum."""
    size = check_file(header.data) - header.offset
    if header.packed is None:
        return
    if not header.packed:
        if size < wanted:
            raise cut_short(header.data)
        return
    if size * DEFLATE < wanted or _unpacked(header) < wanted:
        raise cut_short(header.data)


def _check_axes(path: Path, fields: dict[str, str], axes: str, sizes: str) -> None:
    """Refuse (DataError) a number of axes, or sizes, that no volume has: ITK takes them as they are, and breaks off."""
    number, lengths = fields.get(axes, ""), fields.get(sizes, "").split()
    if not re.fullmatch(r"\d{1,2}", number) or not 1 <= int(number) <= MOST_AXES:
        raise DataError(f"{path}: its header says {axes} = {number!r}; expected a number of axes up to {MOST_AXES}")
    if len(lengths) != int(number) or not all(re.fullmatch(r"\d{1,9}", length) and int(length) for length in lengths):
        raise DataError(f"{path}: its header says {sizes} = {fields.get(sizes, '')!r}; expected {number} whole numbers")


def _unpacked(header: TextHeader) -> int:
    """How many bytes voxels are, unpacked."""
    stream, found = zlib.decompressobj(ZLIB_OR_GZIP), 0
    with header.data.open("rb") as file:
        file.seek(header.offset)
        segment = file.read(AT_A_TIME)
        while segment and not stream.eof:
            try:
                found += len(stream.decompress(segment, AT_A_TIME))
            except zlib.error as error:
                raise cut_short(header.data) from error
            segment = stream.unconsumed_tail or file.read(AT_A_TIME)
    return found if stream.eof else 0


def _nrrd(path: Path, head: bytes) -> TextHeader:
    if not head.startswith(b"NRRD"):
        raise DataError(f"{path}: no NRRD file; its first bytes are those of another kind")
    ends = {len(end) + head.find(end) for end in (b"\n\n", b"\n\r\n") if end in head}
    offset = min(ends, default=len(head))
    fields = _fields(head[:offset], ":")
    data, detached = path, fields.get("datafile")
    if detached is None and not ends:
        raise cut_short(path)
    if detached is not None:
        data, offset = _beside(path, detached), 0
    encoding = fields.get("encoding", "").lower()
    known = encoding in (*PLAIN, *PACKED) and fields.get("lineskip", "0") == "0"
    return TextHeader(fields, data, offset, encoding in PACKED if known else None)


def _meta(path: Path, head: bytes) -> TextHeader:
    start = head.find(b"ElementDataFile")
    if b"ObjectType" not in head and b"NDims" not in head:
        raise DataError(f"{path}: no MetaImage file; its first bytes are those of another kind")
    line = head.find(b"\n", start)
    offset = line + 1 if line >= 0 else len(head)
    fields = _fields(head[:offset], "=")
    if start < 0 or "elementdatafile" not in fields:
        raise cut_short(path)
    data, local = path, fields["elementdatafile"].upper() == "LOCAL"
    if not local:
        data, offset = _beside(path, fields["elementdatafile"]), 0
    if fields.get("headersize", "").isdigit():
        offset = int(fields["headersize"])
    packed = fields.get("compresseddata", "").lower() in ("true", "1")
    text = fields.get("binarydata", "").lower() in ("false", "0")
    return TextHeader(fields, data, offset, None if text else packed)


def _fields(head: bytes, between: str) -> dict[str, str]:
    pairs = (line.partition(between) for line in head.decode("latin-1").splitlines() if not line.startswith("#"))
    return {name.replace(" ", "").lower(): value.strip(" =\t\r") for name, _, value in pairs}


def _beside(path: Path, name: str) -> Path:
    """The file that a header names, which lies relative to the header."""
    data = path.parent / name
    if name.upper().startswith("LIST") or "%" in name:
        raise DataError(f"{path}: its voxels are in several files; save them as one")
    if not data.is_file():
        raise DataError(f"{path}: its voxels are in {name}, which isn't there; copy both")
    return data
