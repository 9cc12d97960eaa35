"""Made-up slides as scanners write them: Aperio, OME, Hamamatsu, Philips, and plain pyramids."""

import io
import struct

import numpy as np
import tifffile
from PIL import Image

JPEG2000 = {"rgb": 33005, "ycbcr": 33003}
LABELS = "Aperio Image Library\nlabel 60x50"


def smooth(height, width, seed=0):
    """Colours that a JPEG keeps nearly as they are."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 32 + 1, width // 32 + 1, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def blocks(height, width, side=8, seed=0):
    """Blocks of one colour each: means over parts of them are exact."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // side, width // side, 3), dtype=np.uint8)
    return np.kron(noise, np.ones((side, side, 1), np.uint8))


def area_mean(pixels, times):
    """Mean over squares of so many pixels, rounded as numpy does."""
    height, width, channels = pixels.shape
    squares = pixels.reshape(height // times, times, width // times, times, channels)
    return np.rint(squares.astype(np.float64).mean((1, 3))).astype(pixels.dtype)


def pyramid(pixels, levels):
    return [pixels if level == 0 else area_mean(pixels, 2**level) for level in range(levels)]


def write_svs(path, levels, *, mpp="0.2500", tile=64):
    """As Aperio's: the finest, a thumbnail, the other levels, then label and macro, black and white."""
    options = {"photometric": "rgb", "metadata": None, "software": False}
    tiled = {**options, "tile": (tile, tile), "compression": "deflate"}
    said = "" if mpp is None else f"|MPP = {mpp}"
    with tifffile.TiffWriter(path) as file:
        head = f"Aperio Image Library v11.2.1\n{levels[0].shape[1]}x{levels[0].shape[0]}|AppMag = 40{said}|Left = 1"
        file.write(levels[0], description=head, **tiled)
        file.write(levels[0][::8, ::8].copy(), **options)
        for level in levels[1:]:
            file.write(level, description="Aperio Image Library v11.2.1", **tiled)
        file.write(np.zeros((50, 60, 3), np.uint8), subfiletype=1, description=LABELS, **options)
        file.write(np.full((50, 60, 3), 255, np.uint8), subfiletype=9, description="Aperio macro", **options)


def write_ome(path, levels, *, label=False, **metadata):
    """As Bio-Formats': coarser levels below the finest; perhaps the label as a picture of its own."""
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
    with tifffile.TiffWriter(path, ome=True) as file:
        if label:
            file.write(np.zeros((50, 60, 3), np.uint8), photometric="rgb", metadata={"Name": "label image"})
        file.write(levels[0], subifds=len(levels) - 1, metadata={"axes": "YXS", **metadata}, **options)
        for level in levels[1:]:
            file.write(level, subfiletype=1, **options)


def write_plain(path, levels, *, mpp=None, unit="CENTIMETER", **options):
    """Levels one after the other, marked as smaller versions."""
    scale = {"CENTIMETER": 10_000, "INCH": 25_400, "NONE": 1}[unit]
    tags = {} if mpp is None else {"resolution": (scale / mpp[1], scale / mpp[0]), "resolutionunit": unit}
    grey = levels[0].ndim == 2
    how = {"photometric": "minisblack" if grey else "rgb", "tile": (64, 64), "metadata": None, **options}
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            file.write(level, subfiletype=int(number > 0), **how, **tags)


def write_coded(path, pixels, tiles, monkeypatch, *, compression, tile=64, **options):
    """A TIFF of tiles that are compressed already, which tifffile writes once it believes to have a compressor."""
    number = tifffile.COMPRESSION[compression] if isinstance(compression, str) else compression
    monkeypatch.setitem(tifffile.TIFF.COMPRESSORS._codecs, int(number), lambda data, **_: data)
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=pixels.shape,
        dtype=pixels.dtype,
        tile=(tile, tile),
        compression=number,
        **{"metadata": None, **options},
    )


def tiles_of(pixels, encode, *, tile=64, left_out=()):
    """Tiles row after row, filled up with 0, each encoded; those left out have no bytes."""
    found = []
    for top in range(0, pixels.shape[0], tile):
        for left in range(0, pixels.shape[1], tile):
            part = pixels[top : top + tile, left : left + tile]
            whole = np.zeros((tile, tile, *pixels.shape[2:]), pixels.dtype)
            whole[: part.shape[0], : part.shape[1]] = part
            found.append(b"" if len(found) in left_out else encode(whole))
    return found


def jpeg(pixels, **options):
    return _encoded(pixels, "JPEG", **{"quality": 95, **options})


def jpeg2000(pixels, **options):
    return _encoded(pixels, "JPEG2000", no_jp2=True, **options)


def _encoded(pixels, kind, **options):
    found = io.BytesIO()
    Image.fromarray(pixels).save(found, kind, **options)
    return found.getvalue()


def in_ycbcr(pixels):
    return np.asarray(Image.fromarray(pixels).convert("YCbCr"))


def write_ndpi(path, levels, *, mpp=0.25):
    """As Hamamatsu's: each level one JPEG, whose restart markers are listed; places in the file have 64 bits."""
    out, link = bytearray(b"II*\0" + bytes(8)), 4

    def put(data):
        out.extend(data + b"\0" * (len(data) % 2))
        return len(out) - len(data) - len(data) % 2

    for number, pixels in enumerate([*levels, np.zeros((40, 72, 3), np.uint8)]):
        magnification = 40.0 / 2**number if number < len(levels) else -1.0  # a macro
        data = jpeg(pixels, subsampling="4:2:2", restart_marker_blocks=4)
        scan = data.index(b"\xff\xda")
        scan += 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
        restarts = [i + 2 for i in range(scan, len(data) - 1) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]
        starts = [scan, *restarts]
        height, width = pixels.shape[:2]
        scale = put(struct.pack("<II", round(10_000 / mpp / 2**number), 1))
        begin, bits = put(data), put(struct.pack("<HHH", 8, 8, 8))
        tags = [
            *[(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, bits), (259, 3, 1, 7), (262, 3, 1, 6)],
            *[(271, 2, 10, put(b"Hamamatsu\0")), (273, 4, 1, begin), (277, 3, 1, 3), (278, 4, 1, height)],
            *[(279, 4, 1, len(data)), (282, 5, 1, scale), (283, 5, 1, scale), (284, 3, 1, 1), (296, 3, 1, 3)],
            *[(530, 3, 2, 2 | 1 << 16), (65420, 4, 1, 1)],
            (65421, 11, 1, int.from_bytes(struct.pack("<f", magnification), "little")),
            (65426, 4, len(starts), put(struct.pack(f"<{len(starts)}I", *starts))),
        ]
        out[link : link + 8] = struct.pack("<Q", len(out))
        out.extend(struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags))
        link = len(out)
        out.extend(bytes(8 + 4 * len(tags)))
    path.write_bytes(out)


def write_philips(path, levels, monkeypatch, *, spacing="0.0005", left_out=()):
    """As Philips': JPEG tiles, those of bare glass left out; the label is marked so."""
    told = "".join(
        f'<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING">'
        f"&quot;{float(spacing) * 2**n:g}&quot; &quot;{float(spacing) * 2**n:g}&quot;</Attribute></DataObject>"
        for n in range(len(levels))
    )
    xml = f'<?xml version="1.0" encoding="UTF-8" ?>\n<DataObject ObjectType="DPUfsImport">{told}</DataObject>'
    monkeypatch.setitem(tifffile.TIFF.COMPRESSORS._codecs, 7, lambda data, **_: data)
    with tifffile.TiffWriter(path) as file:
        for number, pixels in enumerate(levels):
            file.write(
                iter(tiles_of(pixels, jpeg, left_out=left_out if number == 0 else ())),
                shape=pixels.shape,
                dtype=np.uint8,
                tile=(64, 64),
                compression="jpeg",
                photometric="ycbcr",
                subsampling=(2, 2),
                metadata=None,
                software="Philips DP v1.0",
                description=xml if number == 0 else "",
                subfiletype=int(number > 0),
            )
        label = np.zeros((50, 60, 3), np.uint8)
        file.write(label, photometric="rgb", metadata=None, software="Philips DP v1.0", description="Label")
