import time
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from segkit.data.geometry import Geometry
from segkit.data.volume import Volume
from segkit.medical.stack import is_stack, read_stack, write_stack
from segkit.medical.stack_spacing import StackGrid

PAGES = np.random.default_rng(0).integers(0, 60_000, (4, 5, 6)).astype(np.uint16)  # slices, rows, columns
NO_SPACING = ("pages are slices; the file names no spacing: lengths are in voxels",)
NO_PLACE = ("pages are slices; the file names no place in the patient",)
CUT_SHORT = "the file is cut short, or damaged; copy or export it again"


def save(path, pages, **options):
    tifffile.imwrite(path, pages, **{"photometric": "minisblack", **options})
    return path


def imagej(path, pages=PAGES, axes="ZYX", **metadata):
    return save(path, pages, imagej=True, resolution=(2, 4), metadata={"axes": axes, **metadata})


def hung(volume):
    return volume.geometry.turn("axial").of(volume.values)


@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}, {"imagej": True, "metadata": {"axes": "ZYX"}},
    {"metadata": None}, {"bigtiff": True}, {"byteorder": ">"}, {"rowsperstrip": 2}, {"tile": (16, 16)}, {"predictor": 2,
    "compression": "deflate"}])  # fmt: skip
def test_pages_are_axial_slices_with_rows_and_columns_as_stored(tmp_path, options):
    path = save(tmp_path / "a.tif", PAGES, **options)
    assert is_stack(path)
    volume = read_stack(path)
    assert volume.values.dtype == np.uint16
    assert np.array_equal(hung(volume)[..., 0], PAGES)
    assert volume.values[1, 2, 3, 0] == PAGES[3, 2, 1]
    assert volume.geometry.shape == (6, 5, 4)
    assert (volume.located, volume.spaced) == (False, False)
    assert volume.notes == NO_SPACING
    assert (volume.name, volume.files) == ("a", (path,))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_deflate", None])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "bool", "rgb"])
def test_compressions_that_other_programs_use(tmp_path, compression, kind):
    pages = {"bool": PAGES > 30_000, "rgb": np.stack([PAGES % 251] * 3, axis=-1).astype(np.uint8)}.get(kind)
    pages = PAGES.astype(kind) if pages is None else pages
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(tmp_path / "a.tif", save_all=True, append_images=others, compression=compression)
    assert is_stack(tmp_path / "a.tif")
    found = hung(read_stack(tmp_path / "a.tif"))
    expected = pages.astype(np.uint8) * 255 if kind == "bool" else pages
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected if kind == "rgb" else expected[..., None])


@pytest.mark.parametrize(("unit", "millimetres"), [("um", 1e-3), ("micron", 1e-3), ("\\u00B5m", 1e-3), ("mm", 1),
    ("cm", 10), ("nanometre", 1e-6), ("angstrom", 1e-7), ("inch", 25.4)])  # fmt: skip
def test_spacings_of_imagej(tmp_path, unit, millimetres):
    volume = read_stack(imagej(tmp_path / "a.tif", spacing=3.0, unit=unit))
    assert volume.geometry.spacing == pytest.approx(np.array([0.5, 0.25, 3]) * millimetres)
    assert volume.geometry.orientation == "LPS"
    assert (volume.located, volume.spaced, volume.notes) == (False, True, NO_PLACE)
    assert np.array_equal(hung(volume)[..., 0], PAGES)


def test_spacings_that_imagej_leaves_out_or_turns_round(tmp_path):
    assert read_stack(imagej(tmp_path / "a.tif", unit="um")).geometry.spacing[2] == pytest.approx(0.001)
    assert read_stack(imagej(tmp_path / "a.tif", unit="mm", spacing=-2.0)).geometry.spacing == (0.5, 0.25, 2)
    for metadata in ({"spacing": 2.0}, {"unit": "pixel", "spacing": 2.0}, {"unit": "um", "zunit": "mm"}):
        volume = read_stack(imagej(tmp_path / "a.tif", **metadata))
        assert (volume.spaced, volume.geometry.spacing) == (False, (1, 1, 1))
    dots = save(tmp_path / "b.tif", PAGES, resolution=(300, 300), resolutionunit="INCH")
    assert not read_stack(dots).spaced
    for number in (bytes(8), b"\1\0\0\0" + bytes(4)):  # 0 / 0 and 1 / 0
        path = imagej(tmp_path / "c.tif", unit="um")
        content = path.read_bytes().replace(b"\4\0\0\0\1\0\0\0", number)
        path.write_bytes(content)
        assert not read_stack(path).spaced


def test_spacings_of_ome(tmp_path):
    def read(**sizes):
        return read_stack(save(tmp_path / "a.ome.tif", PAGES, metadata={"axes": "ZYX", **sizes}))

    volume = read(PhysicalSizeX=0.5, PhysicalSizeY=0.25, PhysicalSizeZ=2)
    assert volume.geometry.spacing == pytest.approx((0.0005, 0.00025, 0.002))
    assert volume.name == "a.ome"
    volume = read(
        PhysicalSizeX=500, PhysicalSizeXUnit="nm", PhysicalSizeY=0.25, PhysicalSizeZ=2, PhysicalSizeZUnit="mm"
    )
    assert volume.geometry.spacing == pytest.approx((0.0005, 0.00025, 2))
    assert volume.spaced
    assert not read(PhysicalSizeX=0.5, PhysicalSizeY=0.25).spaced
    assert not read(PhysicalSizeX=0.5, PhysicalSizeY=0.25, PhysicalSizeZ=2, PhysicalSizeZUnit="pixel").spaced
    assert not read(PhysicalSizeX=0.5, PhysicalSizeY=0.25, PhysicalSizeZ="nan").spaced
    assert not read(PhysicalSizeX=0.5, PhysicalSizeY=0.25, PhysicalSizeZ="wide").spaced


def test_channels(tmp_path):
    two = np.stack([PAGES, PAGES[::-1]], axis=1)
    for path in (
        imagej(tmp_path / "a.tif", two, axes="ZCYX"),
        save(tmp_path / "b.ome.tif", two, metadata={"axes": "ZCYX"}),
        save(tmp_path / "c.ome.tif", two.swapaxes(0, 1), metadata={"axes": "CZYX"}),
    ):
        assert is_stack(path)
        assert np.array_equal(hung(read_stack(path)), two.transpose(0, 2, 3, 1))
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 4)).astype(np.uint8)
    rgb = save(tmp_path / "d.tif", colours[..., :3], photometric="rgb")
    rgba = save(tmp_path / "e.tif", colours, photometric="rgb", extrasamples=["unassalpha"])
    for path in (rgb, rgba):
        assert is_stack(path)
        assert np.array_equal(hung(read_stack(path)), colours[..., :3])


def test_white_is_zero_in_some_files(tmp_path):
    path = save(tmp_path / "a.tif", PAGES, photometric="miniswhite")
    assert np.array_equal(hung(read_stack(path))[..., 0], 65535 - PAGES)


def test_what_is_no_stack(tmp_path):
    path = tmp_path / "a.tif"
    assert not is_stack(tmp_path / "gone.tif")
    assert not is_stack(save(path, PAGES[0]))
    assert not is_stack(save(path, PAGES[:3], photometric="rgb", planarconfig="separate"))
    assert not is_stack(imagej(path, PAGES[:3], axes="CYX"))
    assert not is_stack(save(path, np.zeros((9, 9, 3), np.uint8), photometric="rgb"))
    picture = np.zeros((64, 64), np.uint8)
    with tifffile.TiffWriter(path) as file:
        file.write(picture, subifds=1)
        file.write(picture[::2, ::2], subfiletype=1)
    assert not is_stack(path)
    with tifffile.TiffWriter(path) as file:  # levels that are not marked
        for step in (1, 2, 4):
            file.write(picture[::step, ::step], metadata=None)
    assert not is_stack(path)
    with tifffile.TiffWriter(path) as file:
        file.write(picture, metadata=None)
        file.write(picture[:10, :12], metadata=None, subfiletype=1)
    assert not is_stack(path)
    path.write_bytes(b"\x89PNG")
    assert not is_stack(path)
    path.write_bytes(b"II*\0")
    assert not is_stack(path)
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert not is_stack(tmp_path / "a.png")


def test_a_stack_with_a_pyramid_or_a_thumbnail_is_its_full_size(tmp_path):
    pages = np.random.default_rng(0).integers(0, 256, (4, 64, 64)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(pages, subifds=1, metadata={"axes": "ZYX"}, photometric="minisblack")
        file.write(pages[:, ::2, ::2], subfiletype=1, photometric="minisblack")
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(pages, metadata=None, photometric="minisblack")
        file.write(pages[0, ::4, ::4], metadata=None, subfiletype=1)
    for name in ("a.ome.tif", "b.tif"):
        assert is_stack(tmp_path / name)
        assert np.array_equal(hung(read_stack(tmp_path / name))[..., 0], pages)


@pytest.mark.parametrize(("axes", "shape"), [("ZYX", (4, 5, 6)), ("ZCYX", (4, 2, 5, 6))])
def test_what_is_written_has_the_spacings_of_what_was_read(tmp_path, axes, shape):
    volume = read_stack(imagej(tmp_path / "a.tif", spacing=3.25, unit="um"))
    values = np.random.default_rng(0).random(shape, np.float32)
    turned = np.moveaxis(values, (0, -2, -1), (2, 1, 0))
    write_stack(tmp_path / "map.tif", turned, volume, "probability")
    with tifffile.TiffFile(tmp_path / "map.tif") as file:
        assert file.is_imagej
        assert np.array_equal(file.asarray(), values)
        assert file.series[0].axes == axes
        assert (file.imagej_metadata["spacing"], file.imagej_metadata["unit"]) == (3.25, "um")
        assert file.imagej_metadata["Info"] == "probability"
        assert [file.pages[0].tags[f"{axis}Resolution"].value for axis in "XY"] == [(2, 1), (4, 1)]
        assert not {"DateTime", "Software"} & {tag.name for tag in file.pages[0].tags}
    again = read_stack(tmp_path / "map.tif")
    assert np.array_equal(again.geometry.affine, volume.geometry.affine)
    assert np.array_equal(again.values, turned.reshape(6, 5, 4, -1))


def test_masks_come_back_for_every_origin(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (6, 5, 4)).astype(np.uint8)
    sources = [
        imagej(tmp_path / "a.tif", unit="\\u00B5m"),
        save(tmp_path / "b.ome.tif", PAGES, metadata={"axes": "ZYX", "PhysicalSizeX": 0.325, "PhysicalSizeY": 0.325,
                                                      "PhysicalSizeZ": 1.7}),
        save(tmp_path / "c.tif", PAGES),
    ]  # fmt: skip
    for source in sources:
        volume = read_stack(source)
        write_stack(tmp_path / "mask.tif", labels, volume)
        again = read_stack(tmp_path / "mask.tif")
        assert np.array_equal(again.values[..., 0], labels)
        assert again.values.dtype == np.uint8
        assert volume.geometry.difference(again.geometry) is None
        assert again.spaced == volume.spaced
    geometry = Geometry((6, 5, 4), np.diag([0.7, 0.8, 2.5, 1]))
    write_stack(tmp_path / "mask.tif", labels, Volume("a", np.zeros((6, 5, 4, 1)), geometry, tmp_path))
    assert read_stack(tmp_path / "mask.tif").geometry.spacing == pytest.approx((0.7, 0.8, 2.5))


def test_one_slice(tmp_path):
    for pages in (PAGES[:1], PAGES[0]):
        volume = read_stack(save(tmp_path / "a.tif", pages))
        assert volume.geometry.shape == (6, 5, 1)
        write_stack(tmp_path / "mask.tif", np.ones((6, 5, 1), np.uint8), volume)
        assert tifffile.imread(tmp_path / "mask.tif").shape == (5, 6)
    volume = read_stack(save(tmp_path / "a.ome.tif", PAGES[0], metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}))
    assert volume.spaced


def test_files_of_more_than_two_gigabytes_are_no_imagej_ones(tmp_path, monkeypatch):
    volume = read_stack(imagej(tmp_path / "a.tif", spacing=3.25, unit="um"))
    monkeypatch.setattr("segkit.medical.stack.LARGE", 100)
    write_stack(tmp_path / "mask.tif", np.ones((6, 5, 4), np.uint8), volume)
    with tifffile.TiffFile(tmp_path / "mask.tif") as file:
        assert file.is_bigtiff
        assert not file.is_imagej
    again = read_stack(tmp_path / "mask.tif")
    assert np.array_equal(again.geometry.affine, volume.geometry.affine)
    assert again.spaced


def test_a_rerun_is_the_same_to_the_byte(tmp_path):
    volume = read_stack(imagej(tmp_path / "a.tif", spacing=3.25, unit="um"))
    for name in ("one", "two"):
        write_stack(tmp_path / name / "mask.tif", np.ones((6, 5, 4), np.uint8), volume)
        write_stack(tmp_path / name / "map.tif", np.ones((6, 5, 4, 2), np.float32), volume, "entropy")
        time.sleep(1.1)
    for name in ("mask.tif", "map.tif"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    "options", [{}, {"imagej": True, "metadata": {"axes": "ZYX"}}, {"compression": "deflate"}, {"metadata": None}]
)
def test_files_that_are_cut_short(tmp_path, told, capfd, options):
    pages = np.random.default_rng(0).integers(0, 60_000, (4, 50, 60)).astype(np.uint16)
    content = save(tmp_path / "a.tif", pages, **options).read_bytes()
    for length in (500, len(content) // 2, len(content) - 100):
        (tmp_path / "a.tif").write_bytes(content[:length])
        assert is_stack(tmp_path / "a.tif")  # never a picture of the first page
        assert told(read_stack, "a.tif") == f"a.tif: {CUT_SHORT}"
    (tmp_path / "a.tif").write_bytes(content[:100])
    assert told(read_stack, "a.tif").startswith("a.tif: can't be decoded as a stack of slices (")
    assert capfd.readouterr() == ("", "")


def test_large_imagej_files_have_one_page_and_many_slices(tmp_path, told):
    pages = np.random.default_rng(0).integers(0, 60_000, (4, 50, 60)).astype(np.uint16)
    content = bytearray(imagej(tmp_path / "a.tif", pages).read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        first = file.pages.first
        after = first.offset + 2 + 12 * len(first.tags)
    content[after : after + 4] = bytes(4)  # as ImageJ does beyond 4 GiB: the other slices follow the first
    (tmp_path / "a.tif").write_bytes(content)
    assert is_stack(tmp_path / "a.tif")
    assert np.array_equal(hung(read_stack(tmp_path / "a.tif"))[..., 0], pages)
    (tmp_path / "a.tif").write_bytes(content[:-20_000])
    assert told(read_stack, "a.tif") == f"a.tif: {CUT_SHORT}"


def test_files_that_are_no_stacks_of_slices(tmp_path, told):
    assert told(read_stack, "gone.tif") == "gone.tif: no such file"
    (tmp_path / "empty.tif").touch()
    assert told(read_stack, "empty.tif") == "empty.tif: the file is empty; copy or export it again"
    (tmp_path / "text.tif").write_bytes(b"A text.")
    assert told(read_stack, "text.tif").startswith("text.tif: can't be decoded as a stack of slices (")
    imagej(tmp_path / "time.tif", axes="TYX")
    assert is_stack(tmp_path / "time.tif")
    assert told(read_stack, "time.tif") == (
        "time.tif: a series of 4 frames over time; save one of them, or, where they are slices, say so in the file "
        "(ImageJ: Image > Properties)"
    )
    save(tmp_path / "four.tif", np.zeros((2, 4, 5, 6), np.uint8))
    assert told(read_stack, "four.tif") == (
        "four.tif: axes Q2×Q4×Y5×X6; a stack has slices and at most channels: save one of them"
    )
    save(tmp_path / "both.tif", np.zeros((2, 4, 5, 6, 3), np.uint8), photometric="rgb", metadata={"axes": "CZYXS"})
    assert told(read_stack, "both.tif").startswith("both.tif: axes C2×Z4×Y5×X6×S3; a stack has slices")
    save(tmp_path / "phase.tif", PAGES, metadata={"axes": "HYX"})
    assert told(read_stack, "phase.tif").startswith("phase.tif: axes H4×Y5×X6; a stack has slices")
    with tifffile.TiffWriter(tmp_path / "others.tif") as file:
        file.write(PAGES, metadata=None, photometric="minisblack")
        file.write(PAGES[0, :2, :2], metadata=None, photometric="minisblack")
    assert is_stack(tmp_path / "others.tif")
    assert told(read_stack, "others.tif") == (
        "others.tif: 4 pages, and 1 of another size or kind; a stack's pages are alike: save it alone"
    )


def test_parts_of_a_set_of_files(tmp_path, told, capfd):
    description = tifffile.TiffFile(save(tmp_path / "a.ome.tif", PAGES, metadata={"axes": "ZYX"})).ome_metadata
    save(tmp_path / "b.ome.tif", PAGES[:2], metadata=None, description=description.encode())
    missing = "some of its pages are in other files, or missing; save all as one file"
    assert told(read_stack, "b.ome.tif") == f"b.ome.tif: {missing}"
    assert capfd.readouterr() == ("", "")


def test_files_that_claim_too_much(tmp_path, told):
    path = save(tmp_path / "a.tif", np.zeros((4, 50, 60), np.uint16))
    assert told(read_stack, "a.tif", limit=23_999) == (
        "a.tif: 4×50×60 values take 0.0 GiB, more than the limit of 0.0 GiB; cut or resample it, or raise the limit "
        "(limit=BYTES, of segkit predict --limit GIB)"
    )
    read_stack(path, limit=24_000)
    bomb = zlib.compress(bytes(1 << 22), 9)
    save(tmp_path / "b.tif", iter([zlib.compress(bytes(6000)), bomb]), shape=(2, 50, 60), dtype=np.uint16,
         compression="deflate", metadata=None)  # fmt: skip
    assert told(read_stack, "b.tif", limit=1 << 20).startswith("b.tif: a part of it unpacks to more than the limit")


def test_values_that_are_no_intensities(tmp_path, told):
    pages = np.zeros((4, 5, 6), np.float32)
    pages[0, 0, 0] = np.nan
    save(tmp_path / "a.tif", pages)
    assert told(read_stack, "a.tif").startswith("a.tif: 1 of 120 values are NaN, infinite or too large")
    save(tmp_path / "b.tif", np.zeros((4, 5, 6), np.complex64))
    assert told(read_stack, "b.tif").startswith("b.tif: its values are complex numbers, not intensities")


def test_masks_of_another_shape_are_not_written(tmp_path):
    volume = read_stack(save(tmp_path / "a.tif", PAGES))
    with pytest.raises(ValueError, match=r"\(6, 5, 3\) values for a grid \(6, 5, 4\)"):
        write_stack(tmp_path / "mask.tif", np.zeros((6, 5, 3), np.uint8), volume)


def test_a_grid_in_millimetres():
    assert StackGrid("cm", ((2, 1), 4.0), 3).millimetres == (5, 2.5, 30)
