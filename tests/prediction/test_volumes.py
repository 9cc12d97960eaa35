"""Predictions of volumes: on the volume's own grid, whatever the plane, the batch and the file."""

import nibabel
import numpy as np
import pytest
import torch
from torch import nn

import segkit
from segkit.data.geometry import Geometry
from segkit.data.reader import Reader
from segkit.data.slices import Slices
from segkit.data.volume import Volume
from segkit.errors import DataError, UsageError
from segkit.medical.reading import read_volume
from segkit.prediction.volume_prediction import VolumePrediction
from segkit.statistics import PixelStatistics, entropy

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (21, 18, 7)


class Bright(nn.Module):
    """The probability of a pixel is its value, in the middle one of the slices shown."""

    task, classes, background, maps, takes_whole_images, disagrees = (
        "binary",
        ("background", "bright"),
        0,
        1,
        False,
        False,
    )

    def __init__(self, slices=None, channels=1):
        super().__init__()
        self.reader = Reader(channels=channels, window=(0, 1000), slices=slices)
        self.seen = []
        self.weight = nn.Parameter(torch.zeros(1))

    def statistics(self, image):
        self.seen.append(tuple(image.shape))
        middle = image.shape[1] // 2
        probabilities = image[:, middle : middle + 1].float()
        return PixelStatistics(probabilities, entropy(probabilities, "binary"), None, None)


def volume_of(values, affine=LPS):
    return Volume("case", values[..., None], Geometry(values.shape, affine), None)


@pytest.fixture
def values():
    return np.random.default_rng(0).integers(0, 1001, SHAPE).astype(np.int16)


@pytest.mark.parametrize("planes", [("axial",), ("coronal",), ("sagittal",), ("axial", "coronal", "sagittal")])
@pytest.mark.parametrize("neighbours", [0, 2])
def test_each_voxel_gets_what_is_said_of_it(planes, neighbours, values):
    model = Bright(Slices(planes=planes, neighbours=neighbours), channels=1 + 2 * neighbours)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * (0.7, 2.0, 1.1)
    prediction = segkit.Predictor(model, precision="fp32").predict(volume_of(values, affine))
    assert isinstance(prediction, VolumePrediction)
    np.testing.assert_allclose(prediction.probabilities[0], values / 1000, atol=1e-6)
    np.testing.assert_array_equal(prediction.labels, values >= 500)
    expected = entropy(torch.from_numpy(prediction.probabilities)[None], "binary")[0].numpy()
    np.testing.assert_allclose(prediction.entropy, expected, atol=1e-6)
    assert prediction.disagreement is None


def test_planes_are_averaged(values):
    class Side(Bright):
        def statistics(self, image):  # says how high its picture is
            probabilities = torch.full_like(image[:, :1], image.shape[2] / 100)
            return PixelStatistics(probabilities, entropy(probabilities, "binary"), None, None)

    model = Side(Slices(planes=("axial", "coronal", "sagittal")))
    prediction = segkit.Predictor(model, precision="fp32").predict(volume_of(values))
    np.testing.assert_allclose(prediction.probabilities, (18 + 7 + 7) / 300, atol=1e-6)


def test_how_many_slices_go_together_changes_nothing(values):
    found = []
    for batch in (None, 1, 3):
        model = Bright(Slices())
        found.append(segkit.Predictor(model, precision="fp32", batch=batch).predict(volume_of(values)).probabilities)
        together = [shape[0] for shape in model.seen if shape[2:] == (18, 21)]
        assert together == {None: [7], 1: [1] * 7, 3: [3, 3, 1]}[batch]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_large_slices_are_cut_into_tiles(values):
    large = np.tile(values, (3, 3, 1))
    prediction = segkit.Predictor(Bright(Slices()), tile=16, overlap=0.5, precision="fp32").predict(volume_of(large))
    np.testing.assert_allclose(prediction.probabilities[0], large / 1000, atol=1e-6)


def test_another_spacing_comes_back_to_the_volumes_own(values):
    smooth = np.add.outer(np.add.outer(np.arange(20), np.arange(16)), 0 * np.arange(3)) * 10.0 + 100
    affine = LPS @ np.diag([1.0, 1.0, 4.0, 1.0])
    model = Bright(Slices(spacing=0.5))
    prediction = segkit.Predictor(model, precision="fp32").predict(volume_of(smooth.astype(np.float32), affine))
    assert model.seen[0][2:] == (32, 40)
    assert prediction.probabilities.shape == (1, 20, 16, 3)
    inside = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(prediction.probabilities[0][inside], smooth[inside] / 1000, atol=1e-3)


def test_a_model_of_pictures_sees_axial_slices_one_by_one(values):
    model = Bright()
    segkit.Predictor(model, precision="fp32").predict(volume_of(values))
    assert {shape[1:] for shape in model.seen} == {(1, 18, 21)}


def test_arrays_in_files_are_the_volumes(values, tmp_path):
    predictor = segkit.Predictor(Bright(Slices()), precision="fp32")
    held, mapped = predictor.predict(volume_of(values)), predictor.predict(volume_of(values), tmp_path)
    for name in ("labels", "probabilities", "entropy"):
        assert isinstance(getattr(mapped, name), np.memmap)
        np.testing.assert_array_equal(getattr(held, name), getattr(mapped, name))
        np.testing.assert_array_equal(np.load(tmp_path / f"case_{name}.npy"), getattr(held, name))


def test_the_flat_prediction_has_the_same_voxels(values):
    prediction = segkit.Predictor(Bright(Slices()), precision="fp32").predict(volume_of(values))
    flat = prediction.flat
    assert flat.labels.shape == (SHAPE[0] * SHAPE[1], SHAPE[2])
    np.testing.assert_array_equal(flat.probabilities[0].ravel(), prediction.probabilities[0].ravel())
    np.testing.assert_allclose(flat.image[..., 0].ravel(), values.ravel() / 1000, atol=1e-6)


def test_depth_is_not_for_volumes(values):
    with pytest.raises(UsageError, match="depth: is of pictures"):
        segkit.Predictor(Bright(Slices())).predict(volume_of(values), depth=np.ones(SHAPE[:2]))


def test_a_volume_with_other_channels_is_refused(values):
    two = Volume("case", np.stack([values, values], -1), Geometry(SHAPE, LPS), None)
    with pytest.raises(DataError, match="2 channels: 2 in all; the model takes 1"):
        segkit.Predictor(Bright(Slices())).predict(two)


# Files


@pytest.fixture
def scan(tmp_path, values):
    affine = np.array([[0, 0, 2.5, -10], [-0.8, 0.1, 0, 20], [0.1, 0.8, 0, 5], [0, 0, 0, 1.0]])
    (tmp_path / "in").mkdir()
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "in" / "scan.nii.gz")
    return tmp_path / "in" / "scan.nii.gz"


def test_nifti_comes_back_as_nifti_on_the_same_grid(scan, values, tmp_path):
    prediction = segkit.Predictor(Bright(Slices()), precision="fp32").predict(scan)
    paths = prediction.save(tmp_path / "out", overlay=True, probability=True, entropy=True)
    assert [path.name for path in paths] == [
        "scan_mask.nii.gz",
        "scan_overlay.png",
        "scan_probability.nii.gz",
        "scan_entropy.nii.gz",
    ]
    mask, before = nibabel.load(paths[0]), nibabel.load(scan)
    np.testing.assert_array_equal(mask.affine, before.affine)
    np.testing.assert_array_equal(mask.get_fdata(), values >= 500)
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_allclose(nibabel.load(paths[2]).get_fdata(), values / 1000, atol=1e-6)
    assert read_volume(paths[0]).geometry.difference(read_volume(scan).geometry) is None


def test_a_folder_of_volumes_and_pictures(scan, tmp_path):
    import cv2

    cv2.imwrite(str(scan.parent / "photo.png"), np.full((20, 20), 40, np.uint8))
    predictor = segkit.Predictor(Bright(Slices()), precision="fp32")
    outcomes = predictor.predict_files(scan.parent, tmp_path / "out", report=True)
    assert [outcome.error for outcome in outcomes] == [None, None]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [
        "index.html",
        "manifest.jsonl",
        "measures.csv",
        "measures.json",
        "photo_mask.png",
        "photo_preview.png",
        "scan_mask.nii.gz",
        "scan_preview.png",
    ]
    page, table = ((tmp_path / "out" / name).read_bytes() for name in ("index.html", "measures.csv"))
    again = predictor.predict_files(scan.parent, tmp_path / "out", report=True, resume=True)
    assert all(outcome.kept for outcome in again)
    assert page == (tmp_path / "out" / "index.html").read_bytes()
    assert table == (tmp_path / "out" / "measures.csv").read_bytes()


def test_measures_are_in_physical_units(scan, values, tmp_path):
    import csv

    segkit.Predictor(Bright(Slices()), precision="fp32").predict_files(scan, tmp_path / "out", report=True)
    [row] = csv.DictReader((tmp_path / "out" / "measures.csv").open())
    assert row["case"] == "scan"
    assert int(row["voxels"]) == (values >= 500).sum()
    volume = abs(np.linalg.det(read_volume(scan).geometry.affine[:3, :3]))
    assert float(row["volume_mm3"]) == pytest.approx((values >= 500).sum() * volume, rel=1e-5)
    assert float(row["mean_probability"]) == pytest.approx(values[values >= 500].mean() / 1000, rel=1e-5)


def test_pseudonyms_say_nothing_of_the_names(scan, tmp_path):
    bad = scan.parent / "Quennell_Zebulon.nii.gz"
    bad.write_bytes(b"no volume")
    predictor = segkit.Predictor(Bright(Slices()), precision="fp32")
    outcomes = predictor.predict_files(scan.parent, tmp_path / "out", report=True, pseudonymise=True)
    assert [outcome.error is None for outcome in outcomes] == [False, True]
    everything = b"".join(path.name.encode() + path.read_bytes() for path in sorted((tmp_path / "out").iterdir()))
    for name in (b"Quennell", b"Zebulon", b"scan"):
        assert name not in everything
    [mask] = (tmp_path / "out").glob("*_mask.nii.gz")
    assert mask.name.startswith("case_")
    first = predictor.predict_files(scan, tmp_path / "again", pseudonymise=True)
    assert first[0].paths[0].name == mask.name


def test_a_damaged_volume_is_an_error_and_the_others_go_on(scan, tmp_path):
    (scan.parent / "cut.nii.gz").write_bytes(scan.read_bytes()[:300])
    predictor = segkit.Predictor(Bright(Slices()), precision="fp32")
    outcomes = predictor.predict_files(scan.parent, tmp_path / "out")
    assert [outcome.error is None for outcome in outcomes] == [False, True]
    assert str(scan.parent / "cut.nii.gz") in outcomes[0].error
    assert not list((tmp_path / "out").glob("cut*"))


def test_voxels_beside_their_header_are_part_of_the_image(tmp_path):
    import SimpleITK

    predictor = segkit.Predictor(Bright(), precision="fp32")

    def predict(value, **options):
        image = SimpleITK.GetImageFromArray(np.full((5, 8, 9), value, np.int16))
        SimpleITK.WriteImage(image, str(tmp_path / "image.mhd"))
        [outcome] = predictor.predict_files(tmp_path / "image.mhd", tmp_path / "out", **options)
        return outcome.kept, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(outcome.paths[0]))).max()

    assert predict(0) == (False, 0)
    assert predict(0, resume=True) == (True, 0)
    assert predict(900, resume=True) == (False, 1)
