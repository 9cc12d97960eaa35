import gzip
import struct
import time

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from medical.grids import check_drawn, draw, itk_affine, random_grids

from segkit.data.geometry import Geometry
from segkit.data.volume import Volume
from segkit.medical.nifti import read_nifti, write_nifti


def save(path, values, affine=None, *, kind=nibabel.Nifti1Header, sform=1, qform=1, **fields):
    """A NIfTI file with nibabel's header, and ``fields`` set as they are: its images would mend what they are told."""
    header = kind()
    header.set_data_shape(values.shape)
    header.set_data_dtype(values.dtype)
    header.set_sform(np.eye(4) if affine is None else affine, sform)
    header.set_qform(np.eye(4) if affine is None else affine, qform)
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    for name, value in {"scl_slope": 1, "scl_inter": 0, **fields}.items():
        header[name] = value
    content = header.binaryblock + bytes(4) + values.tobytes("F")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def patched(path, offset, form, *numbers):
    """The same file with other numbers in its header."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, offset, *numbers)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_masks_lie_where_their_pictures_lie(tmp_path, suffix):
    rng = np.random.default_rng(0)
    for shape, affine in random_grids(100, seed=len(suffix)):
        path = save(tmp_path / f"a{suffix}", rng.integers(0, 99, shape).astype(np.int16), affine)
        volume = read_nifti(path)
        assert volume.located
        assert volume.spaced
        assert volume.geometry.shape == shape
        np.testing.assert_allclose(volume.geometry.affine, affine, rtol=1e-5, atol=1e-5)
        points, labels = draw(volume, rng)
        write_nifti(tmp_path / f"mask{suffix}", labels, volume)
        check_drawn(tmp_path / f"mask{suffix}", points)
        before, after = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / f"mask{suffix}"))
        assert after.GetPixelID() == sitk.sitkUInt8
        assert before.GetSize() == after.GetSize()
        assert np.array_equal(itk_affine(before), itk_affine(after))
        np.testing.assert_allclose(itk_affine(after), volume.geometry.affine, atol=1e-5)
        assert np.array_equal(sitk.GetArrayFromImage(after), labels.transpose(2, 1, 0))


def test_the_second_version_stays_what_it_is(tmp_path):
    rng = np.random.default_rng(0)
    for shape, affine in random_grids(20, seed=2):
        values = rng.integers(0, 99, shape).astype(np.int16)
        volume = read_nifti(save(tmp_path / "a.nii.gz", values, affine, kind=nibabel.Nifti2Header))
        assert np.array_equal(volume.values[..., 0], values)
        np.testing.assert_allclose(volume.geometry.affine, affine)
        write_nifti(tmp_path / "mask.nii.gz", values.astype(np.uint8), volume)
        found = nibabel.load(tmp_path / "mask.nii.gz")
        assert isinstance(found, nibabel.Nifti2Image)
        assert np.array_equal(found.affine, nibabel.load(tmp_path / "a.nii.gz").affine)
        assert np.array_equal(np.asarray(found.dataobj), values)


def test_only_what_describes_the_values_changes_in_the_header(tmp_path):
    (_, affine), *_ = random_grids(1)
    texts = {"descrip": b"Jane Doe", "aux_file": b"jane", "db_name": b"jane", "intent_name": b"jane"}
    ranges = {"cal_max": 99, "cal_min": 1, "intent_code": 3, "intent_p1": 7}
    kept = {"sform_code": 4, "xyzt_units": 18, "dim_info": 57, "toffset": 3, "slice_end": 4}
    kept |= {"pixdim": range(1, 9), "srow_x": range(1, 5)}
    path = save(tmp_path / "a.nii", np.zeros((3, 4, 5), np.int16), affine, **texts, **ranges, **kept)
    content = path.read_bytes()
    path.write_bytes(content[:348] + struct.pack("<3i24s", 1, 32, 6, b"jane doe") + content[352:])
    patched(path, 108, "<f", 384)
    volume = read_nifti(path)
    write_nifti(tmp_path / "mask.nii", np.ones((3, 4, 5), np.uint8), volume, "class ids")
    before, after = (nibabel.Nifti1Header(name.read_bytes()[:348]) for name in (path, tmp_path / "mask.nii"))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {*texts, *ranges, "datatype", "bitpix", "vox_offset"}
    assert after["descrip"].item() == b"class ids"
    assert b"ane" in path.read_bytes()
    assert b"ane" not in (tmp_path / "mask.nii").read_bytes()
    assert after.get_slope_inter() == (1, 0)
    assert volume.voi == (1, 99)


def test_a_rerun_is_the_same_to_the_byte(tmp_path):
    volume = read_nifti(save(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), np.uint8)))
    labels = np.random.default_rng(0).integers(0, 3, (3, 4, 5)).astype(np.uint8)
    for folder in ("one", "two"):
        for name in ("mask.nii.gz", "mask.nii"):
            write_nifti(tmp_path / folder / name, labels, volume)
        time.sleep(1.1)  # gzip counts seconds
    for name in ("mask.nii.gz", "mask.nii"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "mask.nii.gz").read_bytes()[3:8] == bytes(5)  # neither name nor time


def test_maps_keep_the_grid_and_their_numbers(tmp_path):
    (_, affine), *_ = random_grids(1, seed=3)
    volume = read_nifti(save(tmp_path / "a.nii", np.zeros((3, 4, 5), np.int16), affine))
    rng = np.random.default_rng(0)
    for shape in ((3, 4, 5), (3, 4, 5, 2)):
        values = rng.random(shape, np.float32)
        write_nifti(tmp_path / "map.nii.gz", values, volume, "probability of liver, µ" + "x" * 80)
        found = nibabel.load(tmp_path / "map.nii.gz")
        assert np.array_equal(found.get_fdata(dtype=np.float32), values)
        np.testing.assert_allclose(found.affine, volume.geometry.affine)
        assert found.header["descrip"].item().startswith(b"probability of liver, ?xx")
        itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "map.nii.gz")))
        assert np.array_equal(itk.transpose(*reversed(range(len(shape)))), values)


def test_a_volume_of_another_format_is_written_with_what_is_known_of_its_grid(tmp_path):
    rng = np.random.default_rng(0)
    for shape, affine in random_grids(20, seed=5):
        volume = Volume("ct", np.zeros((*shape, 1), np.int16), Geometry(shape, affine), tmp_path / "ct", origin=())
        points, labels = draw(volume, rng)
        write_nifti(tmp_path / "mask.nii.gz", labels, volume)
        check_drawn(tmp_path / "mask.nii.gz", points)
        header = nibabel.load(tmp_path / "mask.nii.gz").header
        assert (int(header["sform_code"]), int(header["qform_code"]), header.get_xyzt_units()[0]) == (1, 1, "mm")
        again = read_nifti(tmp_path / "mask.nii.gz")
        assert volume.geometry.difference(again.geometry) is None
        assert not again.notes
    tilted = np.diag([1.0, 2, 3, 1])
    tilted[1, 2] = 0.8  # slices shifted sideways, which a qform has no room for
    volume = Volume("ct", np.zeros((5, 4, 6, 1)), Geometry((5, 4, 6), tilted), tmp_path / "ct", origin=())
    write_nifti(tmp_path / "mask.nii", np.zeros((5, 4, 6), np.uint8), volume)
    header = nibabel.load(tmp_path / "mask.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    assert header.get_sform() == pytest.approx(tilted)
    assert header.get_zooms() == pytest.approx((1, 2, np.hypot(0.8, 3)))
    nowhere = Volume(
        "us", np.zeros((2, 3, 4, 1)), Geometry((2, 3, 4), np.diag([2.0, 3, 4, 1])), tmp_path, located=False
    )
    write_nifti(tmp_path / "mask.nii", np.zeros((2, 3, 4), np.uint8), nowhere)
    again = read_nifti(tmp_path / "mask.nii")
    assert not again.located
    assert again.spaced
    assert again.geometry.spacing == (2, 3, 4)


def test_long_axes_take_the_second_version(tmp_path):
    long = Volume("a", np.zeros((40_000, 1, 1, 1), np.uint8), Geometry((40_000, 1, 1), np.eye(4)), tmp_path)
    write_nifti(tmp_path / "mask.nii", long.values[..., 0], long)
    assert isinstance(nibabel.load(tmp_path / "mask.nii"), nibabel.Nifti2Image)
    assert read_nifti(tmp_path / "mask.nii").geometry.shape == (40_000, 1, 1)


@pytest.mark.parametrize(
    ("stored", "given"),
    [("u1", "u1"), ("i2", "i2"), ("u2", "u2"), ("i1", "f4"), ("i4", "f4"), ("u4", "f4"), ("i8", "f4"), ("f4", "f4"),
     ("f8", "f4"), ("u8", "f4")],
)  # fmt: skip
@pytest.mark.parametrize("order", "<>")
def test_types_and_both_orders_of_bytes(tmp_path, stored, given, order):
    values = np.random.default_rng(0).integers(0, 100, (2, 3, 4)).astype(stored)
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(stored)
    header.set_sform(np.eye(4), 1)
    nibabel.save(nibabel.Nifti1Image(values, None, header), tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == struct.pack(f"{order}i", 348)
    volume = read_nifti(tmp_path / "a.nii")
    assert volume.values.dtype == np.dtype(given)
    assert np.array_equal(volume.values[..., 0], values)
    write_nifti(tmp_path / "map.nii", volume.values[..., 0].astype(np.float32), volume)
    assert np.array_equal(nibabel.load(tmp_path / "map.nii").get_fdata(), values)


def test_slope_and_intercept_are_applied(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = save(tmp_path / "a.nii", values)
    volume = read_nifti(patched(path, 112, "<2f", 0.5, -1024))
    assert volume.values.dtype == np.float32
    assert np.array_equal(volume.values[..., 0], values * 0.5 - 1024)
    assert np.array_equal(volume.values[..., 0], nibabel.load(path).get_fdata(dtype=np.float32))
    assert read_nifti(patched(path, 112, "<2f", 0, 7)).values.dtype == np.int16  # a slope of 0 means none
    assert read_nifti(patched(path, 112, "<2f", np.nan, np.nan)).values.dtype == np.int16


def test_four_axes_are_channels_and_a_slice_is_a_volume_of_one(tmp_path):
    values = np.arange(120, dtype=np.uint8).reshape(2, 3, 4, 5)
    volume = read_nifti(save(tmp_path / "a.nii", values))
    assert np.array_equal(volume.values, values)
    assert volume.channels == 5
    vectors = read_nifti(save(tmp_path / "b.nii", values.reshape(2, 3, 4, 1, 5)))
    assert np.array_equal(vectors.values, values)
    assert read_nifti(save(tmp_path / "c.nii", values[..., :1])).values.shape == (2, 3, 4, 1)
    slice_ = read_nifti(save(tmp_path / "d.nii", values[..., 0, 0]))
    assert slice_.values.shape == (2, 3, 1, 1)
    write_nifti(tmp_path / "mask.nii", np.ones((2, 3, 1), np.uint8), slice_)
    assert nibabel.load(tmp_path / "mask.nii").shape == (2, 3)
    write_nifti(tmp_path / "mask.nii", np.ones((2, 3, 4), np.uint8), volume)
    assert nibabel.load(tmp_path / "mask.nii").shape == (2, 3, 4)


def test_colours_are_three_channels(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)
    for code, kind in ((128, "RGB"), (2304, "RGBA")):
        typed = np.zeros((2, 3, 4), [(name, "u1") for name in kind])
        for channel, name in enumerate("RGB"):
            typed[name] = colours[..., channel]
        path = save(tmp_path / "a.nii.gz", typed)
        assert nibabel.load(path).header["datatype"] == code
        volume = read_nifti(path)
        assert volume.values.dtype == np.uint8
        assert np.array_equal(volume.values, colours)


def test_pairs(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = np.diag([2.0, 3, 4, 1])
    image = nibabel.Nifti1Pair(values, affine)
    image.header.set_sform(affine, 1)
    nibabel.save(image, tmp_path / "a.img")
    volume = read_nifti(tmp_path / "a.hdr")
    assert np.array_equal(volume.values[..., 0], values)
    assert volume.files == (tmp_path / "a.hdr", tmp_path / "a.img")
    write_nifti(tmp_path / "mask.nii.gz", np.ones((2, 3, 4), np.uint8), volume)
    assert np.array_equal(nibabel.load(tmp_path / "mask.nii.gz").affine, affine)
    assert sitk.ReadImage(str(tmp_path / "mask.nii.gz")).GetSize() == (2, 3, 4)


@pytest.mark.parametrize(("code", "millimetres"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_lengths_are_millimetres_and_the_header_keeps_its_unit(tmp_path, code, millimetres):
    affine = np.diag([2.0, 3, 4, 1])
    affine[:3, 3] = 5, 6, 7
    volume = read_nifti(save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.uint8), affine, xyzt_units=code))
    np.testing.assert_allclose(volume.geometry.affine[:3], affine[:3] * millimetres)
    write_nifti(tmp_path / "mask.nii", np.zeros((2, 3, 4), np.uint8), volume)
    found = nibabel.load(tmp_path / "mask.nii")
    assert found.header["xyzt_units"] == code
    assert np.array_equal(found.affine, affine)


def test_which_of_two_affines_is_used_and_what_is_said(tmp_path):
    values, far = np.zeros((2, 3, 4), np.uint8), np.diag([-1.0, 1, 1, 1])

    def read(shift=0.0, x=1, **codes):
        return read_nifti(save(tmp_path / "a.nii", values, far, srow_x=[x, 0, 0, shift], **codes))

    assert read(x=-1, shift=0.05).notes == ()
    volume = read(qform=0)
    assert volume.notes == ()
    assert np.array_equal(volume.geometry.affine, np.eye(4))
    volume = read()
    assert volume.notes == ("the qform differs from the sform (orientations RAS and LAS); places are the sform's",)
    assert np.array_equal(volume.geometry.affine, np.eye(4))
    volume = read(sform=0)
    assert volume.notes == ()
    assert np.array_equal(volume.geometry.affine, far)
    volume = read(x=0)
    assert np.array_equal(volume.geometry.affine, far)
    assert volume.notes == (
        "the sform can't be used (the affine has no volume: two of its axes point the same way, or a spacing is zero); "
        "places are the qform's",
    )


def test_without_a_code_a_file_has_spacings_and_no_place(tmp_path):
    affine = np.diag([2.0, 3, 4, 1])
    affine[:3, 3] = 5, 6, 7
    path = save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.uint8), affine, sform=0, qform=0)
    volume = read_nifti(path)
    assert (volume.located, volume.spaced) == (False, True)
    assert np.array_equal(volume.geometry.affine, np.diag([2.0, 3, 4, 1]))
    assert volume.notes == ("names no place in the patient (sform and qform have code 0)",)
    write_nifti(tmp_path / "mask.nii", np.zeros((2, 3, 4), np.uint8), volume)
    header = nibabel.Nifti1Header((tmp_path / "mask.nii").read_bytes()[:348])
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    assert header.get_zooms() == (2, 3, 4)
    volume = read_nifti(patched(path, 80, "<3f", 1, 0, 1))
    assert (volume.located, volume.spaced) == (False, False)
    assert volume.geometry.spacing == (1, 1, 1)
    assert volume.notes[0].endswith("have code 0), and no spacing: lengths are in voxels")


def test_files_that_are_compressed_and_not_called_so(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = save(tmp_path / "a.nii", values).read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(content)
    (tmp_path / "c.nii").write_bytes(gzip.compress(content))
    assert np.array_equal(read_nifti(tmp_path / "b.nii.gz").values[..., 0], values)
    assert np.array_equal(read_nifti(tmp_path / "c.nii").values[..., 0], values)
    assert read_nifti(tmp_path / "b.nii.gz").name == "b"


def test_damaged_files(tmp_path, told):
    rng = np.random.default_rng(0)
    content = save(tmp_path / "a.nii", rng.integers(0, 256, (9, 8, 7)).astype(np.uint8)).read_bytes()
    cut_short = "the file is cut short, or damaged; copy or export it again"
    assert told(read_nifti, "gone.nii") == "gone.nii: no such file"
    (tmp_path / "empty.nii").touch()
    assert told(read_nifti, "empty.nii") == "empty.nii: the file is empty; copy or export it again"
    (tmp_path / "folder.nii").mkdir()
    assert told(read_nifti, "folder.nii") == "folder.nii: can't be read (Is a directory)"
    (tmp_path / "text.nii").write_bytes(b"A text, which is longer than a number.")
    assert told(read_nifti, "text.nii") == "text.nii: no NIfTI file; its first bytes are those of another kind"
    (tmp_path / "short.nii").write_bytes(b"ab")
    assert told(read_nifti, "short.nii").startswith("short.nii: no NIfTI file")
    for length in (100, 352, len(content) - 1):
        (tmp_path / "cut.nii").write_bytes(content[:length])
        assert told(read_nifti, "cut.nii") == f"cut.nii: {cut_short}"
    packed = gzip.compress(content)
    for length in (5, 60, len(packed) // 2, len(packed) - 9, len(packed) - 1):
        (tmp_path / "cut.nii.gz").write_bytes(packed[:length])
        assert told(read_nifti, "cut.nii.gz") == f"cut.nii.gz: {cut_short}"
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 1
    (tmp_path / "broken.nii.gz").write_bytes(broken)
    assert told(read_nifti, "broken.nii.gz") == f"broken.nii.gz: {cut_short}"


def test_files_that_claim_what_they_cannot_hold(tmp_path, told):
    path = save(tmp_path / "a.nii", np.zeros((9, 8, 7), np.uint8))
    patched(path, 40, "<4h", 3, 30_000, 30_000, 30_000)
    assert told(read_nifti, "a.nii") == (
        "a.nii: 30,000×30,000×30,000×1 values take 25,145.7 GiB, more than the limit of 1.0 GiB; cut or resample it, "
        "or raise the limit (limit=BYTES, of segkit predict --limit GIB)"
    )
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert told(read_nifti, "b.nii.gz", limit=1 << 50) == (
        "b.nii.gz: the file is cut short, or damaged; copy or export it again"
    )
    assert told(read_nifti, "a.nii", limit=1 << 50).startswith("a.nii: the file is cut short")
    save(tmp_path / "c.nii", np.zeros((9, 8, 7), np.int32))
    assert "values take" in told(read_nifti, "c.nii", limit=9 * 8 * 7 * 4 - 1)
    read_nifti(tmp_path / "c.nii", limit=9 * 8 * 7 * 4)


def test_headers_that_make_no_sense(tmp_path, told):
    def header(name, offset, form, *numbers, values=None, **fields):
        values = np.zeros((2, 3, 4), np.uint8) if values is None else values
        patched(save(tmp_path / name, values, **fields), offset, form, *numbers)
        return told(read_nifti, name)

    assert header("a.nii", 40, "<2h", 3, 0) == "a.nii: damaged: an image of 0×3×4 voxels; copy or export it again"
    assert header("b.nii", 40, "<h", 1) == (
        "b.nii: 2 voxels; a volume has 3 axes, or 4 with channels last: save one of them"
    )
    assert header("c.nii", 40, "<6h", 5, 2, 3, 4, 2, 2).startswith("c.nii: 2×3×4×2×2 voxels; a volume has 3 axes")
    assert header("d.nii", 70, "<h", 1) == (
        "d.nii: values of type 1 are no intensities; export it as 16-bit integers or floats"
    )
    colours = np.zeros((2, 3, 4, 2), [(name, "u1") for name in "RGB"])
    assert header("e.nii", 46, "<h", 4, values=colours).startswith("e.nii: colours along 4 axes are no intensities")
    assert header("f.nii", 112, "<2f", 1, np.inf).startswith("f.nii: its scaling is damaged (")
    assert header("g.nii", 108, "<f", 7).startswith("g.nii: the file is cut short")
    assert header("h.nii", 108, "<f", np.nan).startswith("h.nii: the file is cut short")
    assert header("i.nii", 280, "<f", np.nan, qform=0) == (
        "i.nii: its sform is damaged (the affine must be 4 × 4 finite numbers); write it anew"
    )
    assert header("j.nii", 256, "<3f", 1, 1, 1, sform=0).startswith("j.nii: its qform is damaged (")
    assert header("k.nii", 344, "<4s", b"") == (
        "k.nii: an Analyze file, which doesn't say which side is the left; convert it to NIfTI"
    )
    assert header("l.nii", 344, "<4s", b"ni1") == "l.nii: its voxels are in l.img, which isn't there; copy both"


def test_values_that_are_no_intensities(tmp_path, told):
    values = np.zeros((2, 3, 4), np.float64)
    values[0, 0, :3] = np.nan, np.inf, 1e300
    save(tmp_path / "a.nii", values)
    assert told(read_nifti, "a.nii") == (
        "a.nii: 3 of 24 values are NaN, infinite or too large for 32 bits; replace them, for example by 0, and save it "
        "again"
    )
    save(tmp_path / "b.nii", np.zeros((2, 3, 4), np.complex64))
    assert told(read_nifti, "b.nii") == (
        "b.nii: its values are complex numbers, not intensities; export the magnitude, or one map at a time"
    )


def test_masks_of_another_shape_are_not_written(tmp_path):
    volume = read_nifti(save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.uint8)))
    with pytest.raises(ValueError, match=r"\(2, 3, 5\) values for a grid \(2, 3, 4\)"):
        write_nifti(tmp_path / "mask.nii", np.zeros((2, 3, 5), np.uint8), volume)


def test_nothing_is_printed(tmp_path, capfd, told):
    path = patched(save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.uint8)), 80, "<3f", -1, 0, 1)
    read_nifti(path)
    patched(path, 252, "<2h", 9, 9)
    read_nifti(path)
    assert capfd.readouterr() == ("", "")
