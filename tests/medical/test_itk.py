import time
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from medical.grids import TO_LPS, check_drawn, draw, itk_affine, itk_image, random_grids

from segkit.data.geometry import Geometry
from segkit.data.volume import Volume
from segkit.errors import DataError, UsageError
from segkit.medical.itk import ItkGrid, grid_of, read_itk, write_itk

DETACHED = {".nhdr": ".nrrd", ".mhd": ".mha"}
VALUES = np.arange(24, dtype=np.uint8)
PLACED = "space: LPS\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (1,2,3)"


def save(path, values, affine, *, compress=True):
    sitk.WriteImage(itk_image(values, affine), str(path), compress)
    return path


def nrrd(path, *lines, values=VALUES, sizes="2 3 4", kind="uint8"):
    dimension = len(sizes.split())
    head = ["NRRD0004", f"type: {kind}", "encoding: raw", f"dimension: {dimension}", f"sizes: {sizes}", *lines, "", ""]
    path.write_bytes("\n".join(head).encode() + values.tobytes())
    return path


def meta(path, *lines, values=VALUES, size="2 3 4", kind="UCHAR"):
    head = [
        "ObjectType = Image",
        f"NDims = {len(size.split())}",
        f"DimSize = {size}",
        *lines,
        f"ElementType = MET_{kind}",
    ]
    path.write_bytes("\n".join([*head, "ElementDataFile = LOCAL", ""]).encode() + values.tobytes())
    return path


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nhdr", ".mhd"])
def test_masks_lie_where_their_pictures_lie(tmp_path, suffix):
    rng = np.random.default_rng(0)
    output = tmp_path / f"mask{DETACHED.get(suffix, suffix)}"
    for shape, affine in random_grids(50 if suffix in DETACHED else 200, seed=len(suffix)):
        values = rng.integers(0, 99, shape).astype(np.int16)
        path = save(tmp_path / f"a{suffix}", values, affine)
        volume = read_itk(path)
        assert volume.located
        assert volume.spaced
        assert volume.notes == ()
        assert np.array_equal(volume.values[..., 0], values)
        assert volume.values.dtype == np.int16
        np.testing.assert_allclose(volume.geometry.affine, affine, atol=1e-5)
        points, labels = draw(volume, rng)
        write_itk(output, labels, volume)
        check_drawn(output, points)
        before, after = sitk.ReadImage(str(path)), sitk.ReadImage(str(output))
        assert after.GetPixelID() == sitk.sitkUInt8
        assert after.GetSize() == before.GetSize()
        np.testing.assert_allclose(itk_affine(after), itk_affine(before), rtol=1e-14, atol=1e-14)
        assert np.array_equal(sitk.GetArrayFromImage(after), labels.transpose(2, 1, 0))


def test_metaimages_are_the_same_to_the_last_digit(tmp_path):
    for shape, affine in random_grids(50, seed=9):
        volume = read_itk(save(tmp_path / "a.mha", np.zeros(shape, np.uint8), affine))
        write_itk(tmp_path / "mask.mha", np.zeros(shape, np.uint8), volume)
        before, after = (sitk.ReadImage(str(tmp_path / name)) for name in ("a.mha", "mask.mha"))
        assert before.GetOrigin() == after.GetOrigin()
        assert before.GetSpacing() == after.GetSpacing()
        assert before.GetDirection() == after.GetDirection()


def test_a_rerun_is_the_same_to_the_byte(tmp_path):
    (shape, affine), *_ = random_grids(1)
    volume = read_itk(save(tmp_path / "a.mha", np.zeros(shape, np.uint8), affine))
    for folder in ("one", "two"):
        for name in ("mask.nrrd", "mask.mha"):
            write_itk(tmp_path / folder / name, volume.values[..., 0], volume)
        time.sleep(1.1)  # gzip counts seconds
    for name in ("mask.nrrd", "mask.mha"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("name", ["map.nrrd", "map.mha"])
def test_maps_keep_the_grid_and_their_numbers(tmp_path, name):
    (_, affine), *_ = random_grids(1, seed=3)
    rng = np.random.default_rng(0)
    volume = Volume("a", np.zeros((3, 4, 5, 1)), Geometry((3, 4, 5), affine), tmp_path)
    for shape in ((3, 4, 5), (3, 4, 5, 2)):
        values = rng.random(shape, np.float32)
        write_itk(tmp_path / name, values, volume)
        found = read_itk(tmp_path / name)
        assert np.array_equal(found.values, values.reshape(3, 4, 5, -1))
        np.testing.assert_allclose(found.geometry.affine, affine)
        assert sitk.ReadImage(str(tmp_path / name)).GetNumberOfComponentsPerPixel() == found.channels


def test_the_grid_of_a_geometry_is_itks():
    for shape, affine in random_grids(50, seed=4):
        grid = grid_of(Geometry(shape, affine))
        image = itk_image(np.zeros(shape, np.uint8), affine)
        np.testing.assert_allclose(grid.origin, image.GetOrigin())
        np.testing.assert_allclose(grid.spacing, image.GetSpacing())
        np.testing.assert_allclose(grid.direction, image.GetDirection(), atol=1e-12)
        np.testing.assert_allclose(grid.affine(), affine, atol=1e-12)


def test_vectors_and_fourth_axes_are_channels(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)
    for suffix in (".nrrd", ".mha"):
        assert np.array_equal(read_itk(save(tmp_path / f"a{suffix}", values, np.eye(4))).values, values)
    four = meta(tmp_path / "four.mha", size="2 3 4 3", values=values.ravel("F"))
    volume = read_itk(four)
    assert np.array_equal(volume.values, values)
    write_itk(tmp_path / "mask.mha", values[..., 0], volume)
    assert sitk.ReadImage(str(tmp_path / "mask.mha")).GetSize() == (2, 3, 4)
    last = nrrd(
        tmp_path / "list.nrrd", "kinds: domain domain domain list", "space: LPS", "space origin: (1,2,3)",
        "space directions: (1,0,0) (0,2,0) (0,0,3) none", sizes="2 3 4 3", values=values.ravel("F"),
    )  # fmt: skip
    volume = read_itk(last)
    assert np.array_equal(volume.values, values)
    assert volume.located
    assert np.array_equal(volume.geometry.affine, TO_LPS @ [[1, 0, 0, 1], [0, 2, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]])


def test_a_picture_of_two_axes_is_one_slice(tmp_path):
    for suffix in (".mha", ".nrrd"):
        image = sitk.GetImageFromArray(np.arange(12, dtype=np.uint16).reshape(3, 4))
        image.SetSpacing((0.5, 0.25))
        image.SetOrigin((7, 8))
        image.SetDirection((0, -1, 1, 0))
        sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
        volume = read_itk(tmp_path / f"a{suffix}")
        assert volume.values.shape == (4, 3, 1, 1)
        assert volume.values[1, 2, 0, 0] == 9
        assert volume.geometry.spacing == (0.5, 0.25, 1)
        assert not volume.located
        assert volume.notes == (
            "a single slice of two axes: it names no place in the patient, and counts as 1 mm thick",
        )
        write_itk(tmp_path / f"mask{suffix}", (volume.values[..., 0] == 9).astype(np.uint8), volume)
        after = sitk.ReadImage(str(tmp_path / f"mask{suffix}"))
        assert (after.GetSize(), after.GetSpacing(), after.GetOrigin()) == ((4, 3), (0.5, 0.25), (7, 8))
        assert after.GetDirection() == (0, -1, 1, 0)
        assert np.argwhere(sitk.GetArrayFromImage(after)).tolist() == [[2, 1]]
        write_itk(tmp_path / f"map{suffix}", np.ones((4, 3, 1, 2), np.float32), volume)
        assert sitk.ReadImage(str(tmp_path / f"map{suffix}")).GetNumberOfComponentsPerPixel() == 2


@pytest.mark.parametrize(("stored", "given"), [("u1", "u1"), ("i2", "i2"), ("u2", "u2"), ("i1", "f4"), ("i4", "f4"),
    ("u4", "f4"), ("i8", "f4"), ("u8", "f4"), ("f4", "f4"), ("f8", "f4")])  # fmt: skip
@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_types(tmp_path, stored, given, compress, suffix):
    values = np.random.default_rng(0).integers(0, 100, (2, 3, 4)).astype(stored)
    volume = read_itk(save(tmp_path / f"a{suffix}", values, np.eye(4), compress=compress))
    assert volume.values.dtype == np.dtype(given)
    assert np.array_equal(volume.values[..., 0], values)


def test_numbers_of_metaimages_that_have_other_names_and_places(tmp_path):
    eight = meta(tmp_path / "a.mha", "ElementByteOrderMSB = True", values=np.arange(24, dtype=">i4"), kind="LONG")
    assert np.array_equal(read_itk(eight).values.ravel("F"), VALUES)
    scaled = meta(tmp_path / "b.mha", "ElementToIntensityFunctionSlope = 2", "ElementToIntensityFunctionOffset = -5")
    assert np.array_equal(read_itk(scaled).values.ravel("F"), VALUES * 2.0 - 5)
    headed = meta(tmp_path / "c.mha", "HeaderSize = 200", values=VALUES)
    headed.write_bytes(headed.read_bytes()[:-24].ljust(200) + VALUES.tobytes())
    assert np.array_equal(read_itk(headed).values.ravel("F"), VALUES)


def test_spaces_are_turned_to_ras(tmp_path):
    lines = ("space directions: (1,0,0) (0,2,0) (0,0,3)", "space origin: (1,2,3)")
    for space, signs in (("RAS", (1, 1)), ("left-posterior-superior", (-1, -1)), ("LAS", (-1, 1))):
        volume = read_itk(nrrd(tmp_path / "a.nrrd", f"space: {space}", *lines))
        assert volume.located
        expected = np.diag([*signs, 1, 1]) @ [[1, 0, 0, 1], [0, 2, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]]
        assert np.array_equal(volume.geometry.affine, expected)


def test_a_place_that_the_file_does_not_name_is_not_made_up(tmp_path):
    nowhere = "names no place in the patient: that takes "
    nrrds = nowhere + "space (left-posterior-superior or alike), space directions and space origin"
    metas = nowhere + "Offset and TransformMatrix"
    voxels = "names no spacing: lengths are in voxels"
    directions = "space directions: (1,0,0) (0,2,0) (0,0,3)"

    def found(path):
        volume = read_itk(path)
        assert not volume.located
        assert volume.spaced == (volume.geometry.spacing == (1, 2, 3))
        return volume.notes

    assert found(nrrd(tmp_path / "a.nrrd")) == (nrrds, voxels)
    assert found(nrrd(tmp_path / "b.nrrd", "spacings: 1 2 3")) == (nrrds,)
    assert found(nrrd(tmp_path / "c.nrrd", "space: LPS", directions)) == (nrrds,)
    assert found(nrrd(tmp_path / "d.nrrd", "space: scanner-xyz", directions, "space origin: (1,2,3)")) == (nrrds,)
    assert found(meta(tmp_path / "a.mha")) == (metas, voxels)
    assert found(meta(tmp_path / "b.mha", "ElementSpacing = 1 2 3")) == (metas,)
    assert found(meta(tmp_path / "c.mha", "ElementSpacing = 1 2 3", "Offset = 1 2 3")) == (metas,)
    located = meta(tmp_path / "d.mha", "ElementSize = 1 2 3", "Position = 1 2 3", "Rotation = 1 0 0 0 1 0 0 0 1")
    assert read_itk(located).located


def test_a_mirrored_metaimage_with_a_negative_spacing(tmp_path):
    place = ("Offset = 0 0 0", "TransformMatrix = 1 0 0 0 1 0 0 0 1")
    volume = read_itk(meta(tmp_path / "a.mha", "ElementSpacing = 1 -2 3", *place))
    assert np.array_equal(volume.geometry.affine, np.diag([-1.0, 2, 3, 1]))
    write_itk(tmp_path / "mask.mha", volume.values[..., 0], volume)
    assert np.array_equal(itk_affine(sitk.ReadImage(str(tmp_path / "mask.mha"))), volume.geometry.affine)


def test_damaged_files(tmp_path, told, capfd):
    cut_short = "the file is cut short, or damaged; copy or export it again"
    values = np.random.default_rng(0).integers(0, 256, (20, 21, 22)).astype(np.uint8)
    for suffix, kind in ((".nrrd", "NRRD"), (".mha", "MetaImage")):
        assert told(read_itk, f"gone{suffix}") == f"gone{suffix}: no such file"
        (tmp_path / f"empty{suffix}").touch()
        assert told(read_itk, f"empty{suffix}") == f"empty{suffix}: the file is empty; copy or export it again"
        (tmp_path / f"text{suffix}").write_bytes(b"A text.")
        assert told(read_itk, f"text{suffix}") == (
            f"text{suffix}: no {kind} file; its first bytes are those of another kind"
        )
        for compress in (True, False):
            content = save(tmp_path / f"a{suffix}", values, np.eye(4), compress=compress).read_bytes()
            for length in (60, 150, len(content) // 2, len(content) - 1):
                (tmp_path / f"cut{suffix}").write_bytes(content[:length])
                assert told(read_itk, f"cut{suffix}") == f"cut{suffix}: {cut_short}"
            if compress:
                for place in (len(content) // 2, len(content) - 3):
                    broken = bytearray(content)
                    broken[place] ^= 1
                    (tmp_path / f"broken{suffix}").write_bytes(broken)
                    assert told(read_itk, f"broken{suffix}") == f"broken{suffix}: {cut_short}"
    for suffix, data in ((".nhdr", "a.raw.gz"), (".mhd", "a.zraw")):
        save(tmp_path / f"a{suffix}", values, np.eye(4))
        (tmp_path / data).write_bytes((tmp_path / data).read_bytes()[:-4])
        assert told(read_itk, f"a{suffix}") == f"{data}: {cut_short}"
        (tmp_path / data).unlink()
        assert told(read_itk, f"a{suffix}") == f"a{suffix}: its voxels are in {data}, which isn't there; copy both"
    assert capfd.readouterr() == ("", "")


def test_headers_that_make_no_sense(tmp_path, told, capfd):
    meta(tmp_path / "a.mha", "ElementSpacing = 1 0 3")
    assert told(read_itk, "a.mha") == (
        "a.mha: its directions or spacings are damaged (the affine has no volume: two of its axes point the same way, "
        "or a spacing is zero); write them anew"
    )
    meta(tmp_path / "b.mha", "ElementSpacing = 1 2")
    assert told(read_itk, "b.mha") == "b.mha: can't be read as an image (its header doesn't hold together)"
    meta(tmp_path / "c.mha", "DistanceUnits = um")
    assert told(read_itk, "c.mha") == "c.mha: its lengths are in um, which ITK takes for mm; save it in mm"
    meta(tmp_path / "d.mha", "ElementToIntensityFunctionSlope = x")
    assert (
        told(read_itk, "d.mha") == "d.mha: elementtointensityfunctionslope is 'x', expected a number; export it again"
    )
    meta(tmp_path / "e.mha", "ElementNumberOfChannels = 2", size="2 3 2 1")
    assert told(read_itk, "e.mha") == (
        "e.mha: 4 axes and 2 values a voxel; a volume has 3 axes, or 4 with channels last: save one of them"
    )
    nrrd(tmp_path / "a.nrrd", "space: LPS", "space directions: (1,0,0) (2,0,0) (0,0,3)", "space origin: (1,2,3)")
    assert told(read_itk, "a.nrrd").startswith("a.nrrd: its directions or spacings are damaged (the affine has no")
    nrrd(tmp_path / "b.nrrd", PLACED, 'space units: "um" "um" "um"')
    assert told(read_itk, "b.nrrd") == "b.nrrd: its lengths are in um, which ITK takes for mm; save it in mm"
    nrrd(tmp_path / "c.nrrd", sizes="2 3 2 2 1")
    assert told(read_itk, "c.nrrd").startswith("c.nrrd: 5 axes; a volume has 3 axes")
    nrrd(tmp_path / "d.nrrd", kind="block")
    assert told(read_itk, "d.nrrd") == (
        "d.nrrd: can't be read as an image ([nrrd] _nrrdHeaderCheck: type is block, but missing field: block size)"
    )
    nrrd(tmp_path / "e.nrrd", "space: LPS", "space directions: (1,0,0) (0,nan,0) (0,0,3)", "space origin: (1,2,3)")
    assert "e.nrrd: " in told(read_itk, "e.nrrd")
    (tmp_path / "f.mhd").write_text(
        "NDims = 3\nDimSize = 2 3 4\nElementType = MET_UCHAR\nElementDataFile = LIST\na\nb\n"
    )
    assert told(read_itk, "f.mhd") == "f.mhd: its voxels are in several files; save them as one"
    assert capfd.readouterr() == ("", "")


def test_files_that_claim_too_much(tmp_path, told):
    meta(tmp_path / "a.mha", size="30000 30000 30000")
    assert told(read_itk, "a.mha") == (
        "a.mha: 30,000×30,000×30,000×1 values take 25,145.7 GiB, more than the limit of 1.0 GiB; cut or resample it, "
        "or raise the limit (limit=BYTES, of segkit predict --limit GIB)"
    )
    assert told(read_itk, "a.mha", limit=1 << 50).startswith("a.mha: the file is cut short")
    small = np.frombuffer(zlib.compress(bytes(1000)), np.uint8)
    meta(tmp_path / "b.mha", "CompressedData = True", size="1000 1000 1000", values=small)
    assert told(read_itk, "b.mha").startswith("b.mha: the file is cut short")
    nrrd(tmp_path / "c.nrrd", sizes="9000 9000 9000")
    assert "values take" in told(read_itk, "c.nrrd")


def test_values_that_are_no_intensities(tmp_path, told):
    values = np.zeros((2, 3, 4))
    values[0, 0, :2] = np.nan, np.inf
    save(tmp_path / "a.mha", values, np.eye(4))
    assert told(read_itk, "a.mha").startswith("a.mha: 2 of 24 values are NaN, infinite or too large for 32 bits")
    kinds = ("kinds: complex domain domain domain", "endian: little")
    nrrd(tmp_path / "b.nrrd", *kinds, sizes="2 2 3 2", kind="float", values=np.zeros(24, "f4"))
    assert told(read_itk, "b.nrrd") == (
        "b.nrrd: its values are complex numbers, not intensities; export the magnitude, or one map at a time"
    )


def test_what_cannot_be_written(tmp_path):
    volume = Volume("a", np.zeros((2, 3, 4, 1)), Geometry((2, 3, 4), np.eye(4)), tmp_path)
    with pytest.raises(ValueError, match=r"\(2, 3, 5\) values for a grid \(2, 3, 4\)"):
        write_itk(tmp_path / "mask.mha", np.zeros((2, 3, 5), np.uint8), volume)
    with pytest.raises(UsageError, match=r"mask\.xyz: can't be written \(Unable to determine ImageIO writer .*"):
        write_itk(tmp_path / "mask.xyz", np.zeros((2, 3, 4), np.uint8), volume)
    assert list(tmp_path.iterdir()) == []


def test_the_grid_of_two_axes():
    affine = ItkGrid((7, 8), (0.5, 0.25), (0, -1, 1, 0)).affine()
    assert affine.tolist() == [[0, 0.25, 0, -7], [-0.5, 0, 0, -8], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("said", "otherwise", "message"),
    [
        ("NDims = 3", "NDims = 99999999999999999999", "ndims = '99999999999999999999'; expected a number of axes"),
        ("NDims = 3", "NDims = -1", "ndims = '-1'; expected a number of axes"),
        ("NDims = 3", "NDims = 2", "dimsize = '5 4 3'; expected 2 whole numbers"),
        ("DimSize = 5 4 3", "DimSize = 5 4 -3", "dimsize = '5 4 -3'; expected 3 whole numbers"),
    ],
)
def test_axes_that_no_volume_has_are_refused_before_they_are_believed(tmp_path, said, otherwise, message):
    file = tmp_path / "x.mhd"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16)), str(file))
    text = file.read_text()
    assert said in text
    file.write_text(text.replace(said, otherwise))
    with pytest.raises(DataError, match=message):
        read_itk(file)
