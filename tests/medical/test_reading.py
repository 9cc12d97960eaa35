import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from medical.dicom_files import SECRETS, pattern, write_series
from medical.grids import itk_image, random_grids

from segkit.data.listing import is_volume
from segkit.data.suffixes import stem_of
from segkit.errors import DataError
from segkit.medical.reading import VOLUMES, read_volume

NAMES = ("a.nii", "a.nii.gz", "a.NII.GZ", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.tif", "a.tiff")


def save(path, values, affine):
    suffix = path.suffix.lower()
    if suffix in (".nii", ".gz"):
        image = nibabel.Nifti1Image(values, affine)
        image.set_sform(affine, 1)
        nibabel.save(image, path)
    elif suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, values.transpose(2, 1, 0), photometric="minisblack")
    else:
        sitk.WriteImage(itk_image(values, affine), str(path))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_told_by_its_name(tmp_path, name):
    (shape, affine), *_ = random_grids(1)
    values = np.random.default_rng(0).integers(0, 99, shape).astype(np.int16)
    path = save(tmp_path / name, values, affine)
    assert is_volume(path)
    assert stem_of(path) == "a"
    volume = read_volume(str(path))
    assert volume.name == "a"
    assert volume.path == path
    assert np.array_equal(volume.values[..., 0], values)
    if volume.located:
        np.testing.assert_allclose(volume.geometry.affine, affine, atol=1e-4)
    assert volume.located == (path.suffix[:4] != ".tif")
    assert volume.channels == 1


def test_pairs_are_told_by_either_file(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Pair(values, np.eye(4)), tmp_path / "a.img")
    for name in ("a.hdr", "a.img"):
        assert np.array_equal(read_volume(tmp_path / name).values[..., 0], values)


def test_suffixes_of_volumes():
    assert VOLUMES == (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")


def test_dicom_by_file_and_by_folder(tmp_path):
    values = pattern((7, 5, 4))
    write_series(tmp_path / "study", values, shuffle=1)
    (tmp_path / "study" / "notes.txt").write_text("x")
    volume = read_volume(tmp_path / "study")
    assert np.array_equal(volume.values[..., 0], values)
    assert volume.located
    assert is_volume(tmp_path / "study")
    (single,) = write_series(tmp_path / "single", values[:, :, :1], suffix="")
    assert np.array_equal(read_volume(single).values[..., 0], values[:, :, :1])
    (called,) = write_series(tmp_path / "called", values[:, :, :1])
    assert is_volume(called)
    assert np.array_equal(read_volume(called).values[..., 0], values[:, :, :1])


def test_what_is_left_out_of_a_series_is_noted(tmp_path):
    write_series(tmp_path / "study")
    broken = tmp_path / "study" / "broken.dcm"
    broken.write_bytes(b"x" * 200)
    volume = read_volume(tmp_path / "study")
    assert sum("left out: broken.dcm: " in note for note in volume.notes) == 1
    assert not any(secret in note for note in volume.notes for secret in SECRETS)


def test_what_is_no_volume(tmp_path, told):
    write_series(tmp_path / "two", study="a", series_number=1, prefix="A")
    write_series(tmp_path / "two", study="a", series_number=2, prefix="B")
    assert told(read_volume, "two") == (
        "two: holds 2 DICOM series; one is expected: name its files, or put each series into a folder of its own"
    )
    (tmp_path / "none").mkdir()
    assert told(read_volume, "none") == "none: holds no DICOM series"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.dcm").write_bytes(b"x" * 200)
    assert told(read_volume, "bad").startswith("bad: holds no DICOM series: a.dcm: ")
    assert told(read_volume, "bad/a.dcm").startswith("bad/a.dcm: ")
    assert told(read_volume, "gone.dcm") == "gone.dcm: no such file"
    assert told(read_volume, "gone.nii.gz") == "gone.nii.gz: no such file"
    assert told(read_volume, "gone.mgz") == "gone.mgz: no such file"
    (tmp_path / "a.mgz").write_bytes(b"x")
    assert told(read_volume, "a.mgz") == (
        "a.mgz: no volume that is read here (.nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd, .dcm, .tif, .tiff, or a folder "
        "of a DICOM series)"
    )
    write_series(tmp_path / "moved", ImagePositionPatient=None)
    assert "ImagePositionPatient" in told(read_volume, "moved")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.tif"])
def test_damage_is_told_in_one_line_wherever_it_is(tmp_path, capfd, name):
    path = save(tmp_path / name, np.random.default_rng(0).integers(0, 999, (9, 8, 7)).astype(np.int16), np.eye(4))
    content, rng = path.read_bytes(), np.random.default_rng(1)
    refused = []
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 600), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            assert np.isfinite(read_volume(path, limit=1 << 24).values).all()
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 15
    assert all(line.startswith(str(path)) and "\n" not in line for line in refused)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [*NAMES, "study"])
def test_every_format_keeps_to_the_limit(tmp_path, told, name):
    if name == "study":
        write_series(tmp_path / name, shape=(8, 8, 8))
    else:
        save(tmp_path / name, np.zeros((8, 8, 8), np.int16), np.eye(4))
    assert "values take 0.0 GiB, more than the limit of 0.0 GiB" in told(read_volume, name, limit=1023)
    read_volume(tmp_path / name, limit=1024)


def test_libraries_of_other_formats_are_not_imported(tmp_path):
    path = save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.int16), np.eye(4))
    program = f"""
import sys, pathlib
from segkit.errors import DataError
from segkit.data.listing import is_volume; from segkit.medical.reading import read_volume
assert is_volume(pathlib.Path({str(path)!r}))
assert not {{"nibabel", "SimpleITK", "pydicom", "highdicom", "torch"}} & set(sys.modules)
read_volume({str(path)!r})
assert not {{"SimpleITK", "highdicom", "torch"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_hippocampi_and_their_masks_lie_on_the_same_grids(shared):
    folder = shared / "msd_hippocampus_nifti"
    images = sorted((folder / "images").iterdir())
    assert len(images) == 33
    for path in images:
        volume, mask = read_volume(path), read_volume(folder / "masks" / path.name)
        assert volume.geometry.difference(mask.geometry) is None
        assert volume.located
        assert set(np.unique(mask.values)) <= {0, 1, 2}
        assert mask.values.dtype == np.uint8
        np.testing.assert_allclose(volume.values[..., 0], nibabel.load(path).get_fdata(), rtol=1e-6)
        np.testing.assert_allclose(volume.geometry.affine, nibabel.load(path).affine)
