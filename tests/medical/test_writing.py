import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from medical.dicom_files import CORONAL, SECRETS, write_series
from medical.grids import check_drawn, draw, itk_image, random_grids

from segkit.data.geometry import Geometry
from segkit.data.volume import Volume
from segkit.errors import UsageError
from segkit.medical.reading import read_volume
from segkit.medical.writing import map_suffix_for, suffix_for, write_labels, write_map


def volume_of(tmp_path, name):
    (shape, affine), *_ = random_grids(1)
    path = tmp_path / name
    if name == "series":
        write_series(path, orientation=CORONAL)
    elif name.endswith("tif"):
        tifffile.imwrite(path, np.zeros(shape[::-1], np.uint8), photometric="minisblack")
    elif ".nii" in name:
        image = nibabel.Nifti1Image(np.zeros(shape, np.int16), affine)
        image.set_sform(affine, 1)
        nibabel.save(image, path)
    else:
        sitk.WriteImage(itk_image(np.zeros(shape, np.int16), affine), str(path))
    return read_volume(path)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.nii", ".nii"), ("a.nii.gz", ".nii.gz"), ("a.nrrd", ".nrrd"), ("a.nhdr", ".nrrd"), ("a.mha", ".mha"),
     ("a.mhd", ".mha"), ("a.tif", ".tif"), ("series", ".dcm")],
)  # fmt: skip
def test_masks_and_maps_are_written_in_the_volumes_own_format(tmp_path, name, suffix):
    volume = volume_of(tmp_path, name)
    assert suffix_for(volume) == suffix
    mapped = map_suffix_for(volume)
    assert mapped == {".dcm": ".nii.gz"}.get(suffix, suffix)
    rng = np.random.default_rng(0)
    points, labels = draw(volume, rng)
    write_labels(tmp_path / f"out/mask{mapped}", labels, volume)
    if volume.located:
        check_drawn(tmp_path / f"out/mask{mapped}", points)
    found = read_volume(tmp_path / f"out/mask{mapped}")
    assert np.array_equal(found.values[..., 0], labels)
    assert volume.geometry.difference(found.geometry) is None
    for channels in ((), (2,)):
        values = rng.random((*volume.geometry.shape, *channels), np.float32)
        write_map(tmp_path / f"out/map{mapped}", values, volume, "probability")
        found = read_volume(tmp_path / f"out/map{mapped}")
        assert found.values.dtype == np.float32
        assert np.array_equal(found.values, values.reshape(*volume.geometry.shape, -1))
        assert volume.geometry.difference(found.geometry) is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"map{mapped}", f"mask{mapped}"]


def test_a_volume_may_be_written_in_another_format(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.nii", "a.mha", "series"):
        volume = volume_of(tmp_path, name)
        points, labels = draw(volume, rng)
        for suffix in (".nii", ".nii.gz", ".nrrd", ".mha"):
            write_labels(tmp_path / f"mask{suffix}", labels, volume)
            check_drawn(tmp_path / f"mask{suffix}", points)


def test_nothing_of_a_patient_goes_into_maps_of_dicom(tmp_path):
    volume = volume_of(tmp_path, "series")
    for suffix in (".nii", ".mha", ".nrrd", ".tif"):
        write_map(tmp_path / f"map{suffix}", np.zeros(volume.geometry.shape, np.float32), volume, "entropy")
        content = (tmp_path / f"map{suffix}").read_bytes()
        assert not any(secret.encode() in content for secret in SECRETS)


def test_formats_that_masks_are_not_written_in(tmp_path):
    volume = Volume("a", np.zeros((2, 3, 4, 1)), Geometry((2, 3, 4), np.eye(4)), tmp_path)
    with pytest.raises(UsageError) as caught:
        write_labels(tmp_path / "mask.dcm", np.zeros((2, 3, 4), np.uint8), volume)
    assert str(caught.value) == f"{tmp_path}/mask.dcm: masks and maps of volumes aren't written so; use .nii.gz"


def test_a_place_that_cannot_be_written_to(tmp_path):
    volume = Volume("a", np.zeros((2, 3, 4, 1)), Geometry((2, 3, 4), np.eye(4)), tmp_path)
    (tmp_path / "file").touch()
    for suffix in (".nii.gz", ".nrrd", ".mha", ".tif"):
        with pytest.raises(UsageError, match="can't be written"):
            write_labels(tmp_path / "file" / f"mask{suffix}", np.zeros((2, 3, 4), np.uint8), volume)
