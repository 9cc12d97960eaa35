"""What a file says of itself before its pixels, if it is a DICOM image at all."""

import zlib
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRSpectroscopyStorage,
    ParametricMapStorage,
    RTDoseStorage,
    SegmentationStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from segkit.data.claims import AT_A_TIME, DEFLATE
from segkit.errors import DataError
from segkit.medical.dicom_tags import TELLING_APART, count_of, text_of, value_of

KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "FrameOfReferenceUID"),
    *("Modality", "ImageType", "ConversionType", "BurnedInAnnotation", "NumberOfFrames", "Rows", "Columns"),
    *("SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation", "SequenceOfUltrasoundRegions"),
    *("ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "ImagePlanePixelSpacing"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(keyword for keyword, _ in TELLING_APART),
)
TAGS = [tag for keyword in KEYWORDS if (tag := tag_for_keyword(keyword)) is not None]

NO_DICOM = "no DICOM file"
DIRECTORY = "a DICOMDIR, which only lists files: give the folder itself"
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"

NO_IMAGES = {
    SegmentationStorage: "a segmentation, not an image",
    RTDoseStorage: "a grid of radiation doses, not an image",
    ParametricMapStorage: "a map computed from images, not an image",
    MRSpectroscopyStorage: "spectra, not an image",
    VLWholeSlideMicroscopyImageStorage: "a whole slide in tiles, which is read from TIFF alone: convert it",
}
PLAIN = ("", ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
"""Transfer syntaxes whose pixels aren't compressed; without a preamble there is none."""
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")  # that data sets without a preamble begin with


@dataclass(frozen=True, eq=False)
class Header:
    """A DICOM image's tags that say what it is and where.

    Attributes:
        path: its file.
        tags: some tags of its data set, those named by ``KEYWORDS``.
        lost: why its pixels can't be had although its tags can; None where they may be there.
    """

    path: Path
    tags: Dataset
    lost: str | None = None

    @property
    def frames(self) -> int:
        """How many images it holds."""
        return count_of(self.tags, "NumberOfFrames", self.path, default=1)

    @property
    def sop_class(self) -> UID:
        """What kind of object it is; empty where it doesn't say."""
        return UID(text_of(self.tags, "SOPClassUID", self.path))


def read_header(path: Path, limit: int) -> Header | str:
    """A DICOM image's header, or in a few words why the file is none.

    Files are recognised by what they hold, whatever they are called. ``limit`` is what a deflated one may inflate to.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            return "the file is empty"
        with path.open("rb") as file:
            start = file.read(132)
            if start[128:] != b"DICM" and start[:2] not in FIRST_GROUPS:
                return NO_DICOM
            if not _inflates_within(file, path, limit):
                return f"it inflates to more than the limit of {limit / 2**30:,.1f} GiB: made to fill memory?"
            file.seek(0)
            tags: Dataset = dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(TAGS))
            # What is left begins with the pixels' own tag and length.
            left = size - file.tell() - (8 if tags.original_encoding[0] else 12)
        header = Header(path, tags)
        why = _no_image(header, marked=start[128:] == b"DICM")
        return why or Header(path, tags, _lost(header, left))
    except OSError as error:
        return f"it can't be read ({error.strerror or 'damaged'})"
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    except Exception:  # pydicom raises what it likes; its words may quote the patient's tags
        return "its header is damaged; copy or export it again"


def _no_image(header: Header, *, marked: bool) -> str | None:
    meta = header.tags.file_meta
    sop_class = header.sop_class or UID(str(meta.get("MediaStorageSOPClassUID", "")))
    if sop_class == DIRECTORY_CLASS:
        return DIRECTORY
    if sop_class in NO_IMAGES:
        return NO_IMAGES[sop_class]
    if all(value_of(header.tags, keyword, header.path) is not None for keyword in ("Rows", "Columns")):
        return None
    if not marked and not sop_class.is_valid:
        return NO_DICOM
    if not sop_class or sop_class.name == sop_class:
        return "damaged, or DICOM of a kind without images: Rows or Columns is missing"
    kind = sop_class.name
    if kind.endswith("Image Storage"):
        return f"{kind} without an image: Rows or Columns is missing"
    return f"{kind}, not an image"


def _lost(header: Header, left: int) -> str | None:
    """Why the pixels can't be whole, from the number of bytes behind the tags."""
    syntax = str(header.tags.file_meta.get("TransferSyntaxUID", ""))
    if syntax == DeflatedExplicitVRLittleEndian:
        return None
    if left <= 0:
        return "it holds no pixels; copy or export it again"
    if syntax not in PLAIN:
        return None
    needed = bytes_of(header)
    if left < needed:
        return f"its pixels are cut short: {left:,} bytes of at least {needed:,}; copy or export it again"
    return None


def bytes_of(header: Header) -> int:
    """How many bytes the pixels take, not compressed."""
    tags, path = header.tags, header.path
    samples = count_of(tags, "SamplesPerPixel", path, default=1)
    values = count_of(tags, "Rows", path) * count_of(tags, "Columns", path) * samples * header.frames
    if text_of(tags, "PhotometricInterpretation", path) == "YBR_FULL_422":
        values = values * 2 // 3
    return ceil(values * count_of(tags, "BitsAllocated", path) / 8)


def _inflates_within(file: BinaryIO, path: Path, limit: int) -> bool:
    """Whether reading takes no more than ``limit`` bytes: pydicom inflates deflated data sets whole."""
    file.seek(0)
    if str(DeflatedExplicitVRLittleEndian).encode() not in file.read(4096):
        return True
    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return True
    # The group's length counts from behind its own element, which has 12 bytes.
    file.seek(128 + 4 + 12 + int(meta.FileMetaInformationGroupLength))
    packed = file.read()
    if len(packed) * DEFLATE <= limit:
        return True
    stream, found = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while packed and not stream.eof and found <= limit:
        found += len(stream.decompress(packed, AT_A_TIME))
        packed = stream.unconsumed_tail
    return found <= limit
