"""The resolution that a TIFF says it has: microns from one pixel to the next."""

import math
import re
from xml.etree import ElementTree

import tifffile

from segkit.data.picture import Resolution
from segkit.medical.lengths import nanometres_in

EQUAL = 0.05
"""Share by which two resolutions may differ and count as equal.

No scanner meets its nominal one, and bringing a picture from 0.2527 to 0.25 microns would blur it, for nothing.
"""

INCH, CENTIMETRE = 2, 3
TAG_MICRONS = {INCH: 25_400.0, CENTIMETRE: 10_000.0}
COARSEST = 10.0  # microns per pixel; a coarser scale in the tags is that of a print (72 to 2,540 dots per inch)
APERIO = re.compile(r"\bMPP\s*=\s*([0-9.,eE+-]+)")
PHILIPS = './/DataObject[@ObjectType="PixelDataRepresentation"]/Attribute[@Name="DICOM_PIXEL_SPACING"]'


def resolution_of(file: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[Resolution, str] | None:
    """Microns per pixel of a picture's full resolution, down and across, and who says so; None where nobody does.

    OME-XML, Aperio's and Philips' descriptions and ImageJ's unit come before the tags of TIFF itself, where 10 microns
    and more are taken for the scale of a print. Numbers that aren't positive are none.
    """
    said = (
        ("OME-XML", _of_ome(file, page) if file.is_ome else None),
        ("Aperio's description", _of_aperio(page) if file.is_svs else None),
        ("Philips' description", _of_philips(file) if file.is_philips else None),
        ("ImageJ's description", _of_imagej(file, page) if file.is_imagej else None),
        ("its tags", _of_tags(page)),
    )
    for who, found in said:
        if found is not None and all(math.isfinite(value) and value > 0 for value in found):
            return found, who
    return None


def _of_ome(file: tifffile.TiffFile, page: tifffile.TiffPage) -> Resolution | None:
    """Of the image that has the page's size."""
    for pixels in ElementTree.fromstring(file.ome_metadata or "<OME/>").iter():
        size = pixels.get("SizeY"), pixels.get("SizeX")
        if pixels.tag.endswith("Pixels") and size == (str(page.imagelength), str(page.imagewidth)):
            down, across = (_length(pixels, f"PhysicalSize{axis}") for axis in "YX")
            return None if down is None or across is None else (down, across)
    return None


def _length(pixels: ElementTree.Element, key: str) -> float | None:
    value = _number(pixels.get(key, ""))
    nanometres = nanometres_in(pixels.get(f"{key}Unit", "µm"))
    return None if value is None or nanometres is None else value * (nanometres / 1e3)


def _of_aperio(page: tifffile.TiffPage) -> Resolution | None:
    found = APERIO.search(page.description)
    value = _number(found[1]) if found else None
    return None if value is None else (value, value)


def _of_philips(file: tifffile.TiffFile) -> Resolution | None:
    """Of the first level, in millimetres."""
    spacing = ElementTree.fromstring(file.philips_metadata or "<DataObject/>").find(PHILIPS)
    words = (spacing.text or "").replace('"', "").split() if spacing is not None else []
    down, across = (_number(word) for word in words) if len(words) == 2 else (None, None)
    return None if down is None or across is None else (down * 1000, across * 1000)


def _of_imagej(file: tifffile.TiffFile, page: tifffile.TiffPage) -> Resolution | None:
    unit = str((file.imagej_metadata or {}).get("unit", ""))
    nanometres, per_unit = nanometres_in(unit), _per_unit(page)
    if nanometres is None or per_unit is None or nanometres == nanometres_in("inch"):  # inches are those of the tags
        return None
    return nanometres / 1e3 / per_unit[0], nanometres / 1e3 / per_unit[1]


def _of_tags(page: tifffile.TiffPage) -> Resolution | None:
    microns = TAG_MICRONS.get(int(page.tags.valueof(296) or INCH))
    per_unit = _per_unit(page)
    if microns is None or per_unit is None or microns / min(per_unit) >= COARSEST:
        return None
    return microns / per_unit[0], microns / per_unit[1]


def _per_unit(page: tifffile.TiffPage) -> Resolution | None:
    """Pixels in a unit, down and across."""
    across, down = (page.tags.valueof(number) for number in (282, 283))
    if across is None or down is None or not all((*across, *down)):
        return None
    return down[0] / down[1], across[0] / across[1]


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
