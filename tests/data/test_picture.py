import numpy as np
import pytest
import tifffile
from PIL import Image

from segkit.data import picture, tiff_rows
from segkit.data.picture import open_picture
from segkit.data.reader import read_pixels
from segkit.errors import DataError

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (70, 53), dtype=np.uint8)
COLOUR8 = RNG.integers(0, 256, (70, 53, 3), dtype=np.uint8)
COLOUR16 = RNG.integers(0, 65536, (70, 53, 3), dtype=np.uint16)
FLOATS = RNG.random((70, 53), dtype=np.float32)
FIVE = RNG.integers(0, 256, (5, 70, 53), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(COLOUR8[:9, :7]).resize((53, 70)))
TILED, STRIPED = {"tile": (16, 32)}, {"rowsperstrip": 7}
PILLOWS = {"tiff_lzw": {}, "jpeg": {"quality": 90}, "packbits": {}, "tiff_adobe_deflate": {}}


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    """Read in parts whatever can be, a few rows of tiles or strips at a time."""
    monkeypatch.setattr(picture, "AT_ONCE", 0)
    monkeypatch.setattr(tiff_rows, "AT_ONCE", 8000)


def check(path, *, parts=True):
    """Any range of rows is that range of the whole picture."""
    whole, opened = read_pixels(path), open_picture(path)
    assert isinstance(opened._pixels, tiff_rows.TiffRows | tiff_rows.ChannelRows) == parts
    assert opened.shape == whole.shape
    assert opened.dtype == whole.dtype
    height = len(whole)
    for top, bottom in ((0, height), (0, 1), (5, 17), (16, 32), (height - 3, height)):
        rows = opened.rows(top, bottom)
        assert rows.dtype == whole.dtype
        np.testing.assert_array_equal(rows, whole[top:bottom])


@pytest.mark.parametrize("layout", [TILED, STRIPED, {}], ids=["tiles", "strips", "one strip"])
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("pixels", [GREY8, COLOUR8, COLOUR16, FLOATS], ids=["grey", "colour", "16 bits", "float"])
def test_parts_are_parts_of_the_whole(tmp_path, layout, compression, byteorder, bigtiff, pixels):
    options = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack", "bigtiff": bigtiff, "byteorder": byteorder}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options, **layout, compression=compression)
    check(tmp_path / "a.tif")


@pytest.mark.parametrize("layout", [TILED, STRIPED, {}], ids=["tiles", "strips", "one strip"])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_planes_are_read_beside_one_another(tmp_path, layout, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FIVE, photometric="minisblack", planarconfig="separate", **layout, compression=compression)
    check(path)
    tifffile.imwrite(path, FIVE[:3], photometric="rgb", planarconfig="separate", **layout, compression=compression)
    check(path)


@pytest.mark.parametrize("compression", list(PILLOWS))
@pytest.mark.parametrize("pixels", [GREY8, SMOOTH], ids=["grey", "colour"])
def test_compressions_of_other_decoders(tmp_path, compression, pixels):
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.tif", compression=compression, tiffinfo={278: 16}, **PILLOWS[compression])
    check(tmp_path / "a.tif")


def test_sixteen_bits_by_lzw(tmp_path):
    Image.fromarray(COLOUR16[..., 0]).save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={278: 16})
    check(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{"photometric": "miniswhite"}, {"photometric": "minisblack", "predictor": True}])
def test_tags_that_change_the_values_are_kept(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", GREY8, **TILED, compression="deflate", **options)
    check(tmp_path / "a.tif")


def test_alpha_is_dropped(tmp_path):
    four = np.concatenate([COLOUR8, GREY8[..., None]], axis=2)
    tifffile.imwrite(tmp_path / "a.tif", four, photometric="rgb", extrasamples=["unassalpha"], **TILED)
    check(tmp_path / "a.tif")


def test_of_a_pyramid_the_finest_level_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(COLOUR8, photometric="rgb", subifds=1, **TILED)
        file.write(COLOUR8[::2, ::2], photometric="rgb", subfiletype=1, **TILED)
    check(tmp_path / "a.tif")


def test_a_turned_tiff_is_decoded_whole(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", COLOUR8, photometric="rgb", **TILED, extratags=[(274, 3, 1, 6, False)])
    check(tmp_path / "a.tif", parts=False)


def test_other_files_are_decoded_whole(tmp_path):
    Image.fromarray(COLOUR8).save(tmp_path / "a.png")
    check(tmp_path / "a.png", parts=False)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_channels_in_pages_of_their_own_are_read_beside_one_another(tmp_path, compression):
    options = {"photometric": "minisblack", "metadata": {"axes": "CYX"}, "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", FIVE, **options, **TILED)
    check(tmp_path / "a.tif")


def test_a_stack_is_refused_as_when_read_whole(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([FIVE, FIVE]), photometric="minisblack")
    with pytest.raises(DataError, match=r"a\.tif: .*it is a stack of shape 2×5×70×53; one picture is expected"):
        open_picture(tmp_path / "a.tif")


def test_damage_is_found_where_it_is(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOUR8, photometric="rgb", **TILED, compression="deflate")
    with tifffile.TiffFile(path) as file:
        start, length = file.pages.first.dataoffsets[-1], file.pages.first.databytecounts[-1]
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes(length) + data[start + length :])
    opened = open_picture(path)
    np.testing.assert_array_equal(opened.rows(0, 64), COLOUR8[:64])
    with pytest.raises(DataError, match=r"a\.tif: can't be decoded as a picture \("):
        opened.rows(0, 70)


def test_values_that_are_not_finite_are_found_where_they_are(tmp_path):
    floats = FLOATS.copy()
    floats[60, 3] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", floats, **TILED)
    opened = open_picture(tmp_path / "a.tif")
    assert np.isfinite(opened.rows(0, 48)).all()
    with pytest.raises(DataError, match=r"a\.tif: holds values that are not finite"):
        opened.rows(48, 70)


@pytest.mark.parametrize("large", [False, True])
def test_pages_that_are_pictures_of_their_own_are_refused_and_smaller_versions_passed_over(
    large, tmp_path, monkeypatch
):
    if not large:
        monkeypatch.setattr(picture, "AT_ONCE", 1 << 26)
    grey, path = FIVE[0], tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([grey, grey[::-1], grey]), photometric="minisblack")
    with pytest.raises(DataError, match=r"a\.tif: .*it is a stack of shape 3×70×53; one picture is expected"):
        open_picture(path)
    with tifffile.TiffWriter(path) as file:
        file.write(grey)
        file.write(grey[:30, :20])
    with pytest.raises(DataError, match=r"a\.tif: .*it holds 2 pictures of different kinds; one picture is expected"):
        open_picture(path)
    with tifffile.TiffWriter(path) as file:
        file.write(grey)
        file.write(grey[:30, :20], subfiletype=1)
    assert np.array_equal(open_picture(path).rows(0, 70)[..., 0], grey)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_animation_is_refused(suffix, tmp_path):
    frames = [Image.fromarray(np.full((9, 7, 3), value, np.uint8)) for value in (10, 200)]
    path = tmp_path / f"a{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="it is an animation; one picture is expected"):
        open_picture(path)


def test_a_large_tiff_that_is_cut_short_is_refused_when_it_is_opened(tmp_path):
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    tifffile.imwrite(path, noise, tile=(64, 64), compression="zlib")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(DataError, match=r"a\.tif: the file is cut short: [\d,]+ bytes of at least [\d,]+; copy"):
        open_picture(path)
