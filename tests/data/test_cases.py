"""Volumes of a dataset: what a model is shown of them, and that their masks stay where they are."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import nibabel
import numpy as np
import pytest
import yaml

import segkit
from segkit.data.cases import Cases, case_of, difference_from
from segkit.data.dataset import EvaluationDataset, SegmentationDataset
from segkit.data.geometry import Geometry
from segkit.data.reader import Reader, own_window
from segkit.data.slices import Slices
from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.medical.reading import read_volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # the file's axes run to the left, the back and the top
SHAPE = (6, 5, 4)


def volume(values, affine=LPS, **more):
    values = np.asarray(values)
    values = values[..., None] if values.ndim == 3 else values
    return Volume("case", values, Geometry(values.shape[:3], affine), more.pop("path", None), **more)


def ramp(shape=SHAPE):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def write(folder, names, *, shape=SHAPE, affines=None, classes=("background", "part"), dtype=np.float32):
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        affine = LPS if affines is None else affines[number]
        values = np.random.default_rng(number).integers(0, 200, shape).astype(dtype)
        ids = (values > 120).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(values, affine), folder / "images" / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(ids, affine), folder / "masks" / f"{name}.nii.gz")
    described = {"classes": list(classes), "splits": {"train": list(names)}}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(described))
    return folder


# What a model is shown


def test_axial_slices_are_rows_from_front_to_back_and_columns_from_right_to_left():
    values = ramp()
    case = case_of(volume(values), Reader(channels=1, window=(0, 200)))
    for k in range(SHAPE[2]):
        np.testing.assert_array_equal(case.picture("axial", k)[..., 0], (values[:, :, k].T / 200).astype(np.float32))


def test_other_planes_have_the_head_on_top():
    values = ramp()
    case = case_of(volume(values), Reader(channels=1, window=(0, 200)))
    coronal, sagittal = case.picture("coronal", 1)[..., 0], case.picture("sagittal", 2)[..., 0]
    np.testing.assert_allclose(coronal * 200, values[:, 1, ::-1].T, rtol=1e-6)
    np.testing.assert_allclose(sagittal * 200, values[2, :, ::-1].T, rtol=1e-6)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_how_a_volume_lies_in_its_file_changes_nothing_of_what_is_shown(axes):
    values = ramp()
    back = np.eye(4)
    for axis in axes:
        back[axis, axis], back[axis, 3] = -1, SHAPE[axis] - 1
    reader = Reader(channels=1, window=(0, 200), slices=Slices(planes=("axial", "coronal", "sagittal")))
    straight, turned = case_of(volume(values), reader), case_of(volume(np.flip(values, axes), LPS @ back), reader)
    exchanged = case_of(volume(values.transpose(2, 0, 1), LPS @ np.eye(4)[:, [2, 0, 1, 3]]), reader)
    for plane in straight.planes:
        for index in range(straight.count(plane)):
            picture = straight.picture(plane, index)
            np.testing.assert_array_equal(picture, turned.picture(plane, index))
            np.testing.assert_array_equal(picture, exchanged.picture(plane, index))


def test_neighbours_are_channels_and_the_last_slice_is_repeated():
    values = ramp()
    reader = Reader(channels=5, window=(0, 200), slices=Slices(neighbours=2))
    case, alone = case_of(volume(values), reader), case_of(volume(values), Reader(channels=1, window=(0, 200)))
    for index, shown in ((0, (0, 0, 0, 1, 2)), (2, (0, 1, 2, 3, 3)), (3, (1, 2, 3, 3, 3))):
        picture = case.picture("axial", index)
        for channel, number in enumerate(shown):
            np.testing.assert_array_equal(picture[..., channel], alone.picture("axial", number)[..., 0])


def test_channels_of_a_slice_stay_together():
    values = np.stack([ramp(), ramp() + 1], axis=-1)
    case = case_of(volume(values), Reader(channels=6, window=(0, 200), slices=Slices(neighbours=1)))
    picture = case.picture("axial", 1) * 200
    np.testing.assert_allclose(picture[..., 1::2] - picture[..., ::2], 1, atol=1e-3)


def test_pixels_are_brought_to_a_spacing():
    affine = LPS @ np.diag([2.0, 1.0, 5.0, 1.0])
    case = case_of(volume(ramp(), affine), Reader(channels=1, window=(0, 200), slices=Slices(spacing=0.5)))
    assert case.size("axial") == (10, 24)
    assert case.picture("axial", 0).shape == (10, 24, 1)


def test_a_single_slice_is_looked_at_in_its_own_plane():
    reader = Reader(channels=1, window=(0, 200), slices=Slices(planes=("axial", "coronal")))
    assert case_of(volume(ramp((6, 1, 4))), reader).planes == ("coronal",)
    assert case_of(volume(ramp((6, 5, 1))), reader).planes == ("axial",)


def test_each_channel_has_its_own_window_over_the_whole_volume():
    values = np.stack([ramp(), 1000 * ramp()], axis=-1)
    case = case_of(volume(values), Reader(channels=2, window="picture"))
    for channel in range(2):
        low, high = own_window(values[..., channel])
        expected = ((values[..., channel].astype(np.float64) - low) / (high - low)).clip(0, 1)
        np.testing.assert_allclose(case.values[..., channel], expected, atol=1e-6)


def test_the_window_that_a_file_names():
    reader = Reader(channels=1, window="file")
    case = case_of(volume(ramp(), voi=(20.0, 70.0)), reader)
    np.testing.assert_allclose(case.values[..., 0], ((ramp() - 20) / 50).clip(0, 1), atol=1e-6)
    with pytest.raises(DataError, match="names no window to be shown by"):
        case_of(volume(ramp()), reader)


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (Reader(channels=1, slices=Slices(neighbours=1), window="picture"), r"1 channel, 3 slices at a time: 3 in all"),
        (Reader(channels=4, window="picture"), r"1 channel: 1 in all; the model takes 4"),
    ],
)
def test_channels_that_do_not_fit(reader, message):
    with pytest.raises(DataError, match=message):
        case_of(volume(ramp()), reader).picture("axial", 0)


def test_values_without_a_window():
    with pytest.raises(DataError, match=r"values run from 0 to 119.*set the window"):
        case_of(volume(ramp()), Reader(channels=1))


# Of a dataset


def test_a_dataset_of_volumes_opens_by_case(tmp_path):
    folder = segkit.open_dataset(write(tmp_path, ["a", "b"]))
    samples = folder.samples("train")
    assert [sample.name for sample in samples] == ["a", "b"]
    assert all(sample.volume for sample in samples)
    ids = folder.read_mask(samples[0])
    expected = nibabel.load(tmp_path / "masks" / "a.nii.gz").get_fdata()
    np.testing.assert_array_equal(ids, expected.reshape(-1, SHAPE[2]))
    np.testing.assert_array_equal(folder.cases.mask(samples[0]), expected)


def test_slices_are_the_samples_of_training_and_masks_lie_on_them(tmp_path):
    folder = segkit.open_dataset(write(tmp_path, ["a", "b"]))
    reader = Reader(channels=1, window=(0, 200), slices=Slices(planes=("axial", "sagittal")))
    dataset = SegmentationDataset(folder, folder.samples("train"), reader, crop=None)
    assert len(dataset) == 2 * (SHAPE[2] + SHAPE[0])
    for index in range(len(dataset)):
        item = dataset[0, index]
        np.testing.assert_array_equal(item["target"].numpy(), item["image"][0].numpy() * 200 > 120)
    assert [sample.name for sample in dataset.samples[:2]] == ["a_axial_000", "a_axial_001"]


def test_validation_sees_each_voxel_once_under_the_name_of_its_case(tmp_path):
    folder = segkit.open_dataset(write(tmp_path, ["a", "b"]))
    reader = Reader(channels=1, window=(0, 200), slices=Slices(planes=("coronal", "sagittal")))
    items = list(map(EvaluationDataset(folder, folder.samples("train"), reader).__getitem__, range(2 * SHAPE[1])))
    assert [item["name"] for item in items] == ["a"] * SHAPE[1] + ["b"] * SHAPE[1]
    assert sum(item["target"].numel() for item in items) == 2 * np.prod(SHAPE)


def test_slices_without_foreground_give_way(tmp_path):
    write(tmp_path, ["a"])
    ids = np.zeros(SHAPE, np.uint8)
    ids[2, 2, 1] = 1
    nibabel.save(nibabel.Nifti1Image(ids, LPS), tmp_path / "masks" / "a.nii.gz")
    folder = segkit.open_dataset(tmp_path)
    reader = Reader(channels=1, window=(0, 200))
    always = SegmentationDataset(folder, folder.samples("train"), reader, crop=None, foreground=1.0)
    assert all(always[epoch, index]["target"].sum() == 1 for epoch in range(3) for index in range(SHAPE[2]))
    never = SegmentationDataset(folder, folder.samples("train"), reader, crop=None)
    assert [int(never[0, index]["target"].sum()) for index in range(SHAPE[2])] == [0, 1, 0, 0]
    assert always[1, 3]["name"] == always[1, 3]["name"]


def test_many_volumes_lie_in_files(tmp_path, monkeypatch):
    folder = segkit.open_dataset(write(tmp_path, ["a", "b"]))
    reader = Reader(channels=1, window="picture")
    held = [folder.cases.case(sample, reader).values for sample in folder.samples("train")]
    monkeypatch.setattr("segkit.data.cases.KEPT", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    cases = Cases(folder)
    cases.slices(folder.samples("train"), reader)
    for sample, values in zip(folder.samples("train"), held, strict=True):
        found = cases.case(sample, reader).values
        assert isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, values)
    assert list((tmp_path / "temporary").iterdir()) == []  # so that a killed process leaves nothing there


def test_of_whole_volumes_the_last_one_is_held(tmp_path, monkeypatch):
    folder = segkit.open_dataset(write(tmp_path, ["a", "b"]))
    read = []
    monkeypatch.setattr("segkit.medical.reading.read_volume", lambda path: read.append(path.name) or read_volume(path))
    monkeypatch.setattr("segkit.data.cases.KEPT", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))  # nothing is written there
    first, second = folder.samples("train")
    values = folder.cases.case(first, Reader(channels=1, window=(0, 200))).values
    folder.cases.mask(first)
    assert folder.cases.case(first, Reader(channels=3, window=(0, 200))).values is values
    folder.cases.case(second, Reader(channels=1, window=(0, 200)))
    assert read == ["a.nii.gz", "a.nii.gz", "b.nii.gz"]  # the picture, its mask, the next picture


def test_a_mask_that_says_no_place_lies_on_a_picture_that_says_none():
    picture, mask = Geometry(SHAPE, np.diag([-0.5, -0.5, 3.0, 1.0])), volume(ramp(), located=False, spaced=False)
    assert difference_from(mask, picture, located=False) is None
    mirrored = Geometry(SHAPE, np.diag([0.5, 0.5, 3.0, 1.0]))
    assert difference_from(mask, mirrored, located=False) == "orientations RAS and LPS"
    assert difference_from(mask, picture, located=True) == "spacings 0.5 × 0.5 × 3 and 1 × 1 × 1 mm"
    assert difference_from(mask, Geometry((6, 5, 3), LPS), located=False) == "shapes 6×5×3 and 6×5×4 voxels"


def test_threads_get_each_their_own_volume_and_mask(tmp_path, monkeypatch):
    folder = segkit.open_dataset(write(tmp_path, list("abcdefgh")))
    samples, reader = folder.samples("train"), Reader(channels=1, window=(0, 200))

    def slowly(path):
        found = read_volume(path)
        sleep(0.003)  # long enough for the other threads to come
        return found

    monkeypatch.setattr("segkit.medical.reading.read_volume", slowly)
    monkeypatch.setattr("segkit.data.cases.KEPT", 0)
    cases = Cases(folder)
    with ThreadPoolExecutor(8) as pool:
        masks = list(pool.map(cases.mask, 2 * samples))
        found = list(pool.map(lambda sample: cases.case(sample, reader), 2 * samples))
    for mask, case, sample in zip(masks, found, 2 * samples, strict=True):
        np.testing.assert_array_equal(mask, nibabel.load(sample.mask).get_fdata())
        np.testing.assert_allclose(case.values[..., 0], nibabel.load(sample.image).get_fdata() / 200, rtol=1e-6)


def test_another_process_reads_what_it_needs(tmp_path):
    folder = segkit.open_dataset(write(tmp_path, ["a"]))
    [sample] = folder.samples("train")
    expected = folder.cases.mask(sample)
    for copied in (pickle.loads(pickle.dumps(folder)).cases, pickle.loads(pickle.dumps(folder.cases))):
        np.testing.assert_array_equal(copied.mask(sample), expected)


def test_an_image_is_read_once_for_itself_and_for_its_mask(tmp_path, monkeypatch):
    folder = segkit.open_dataset(write(tmp_path, ["a", "b"]))
    read = []
    monkeypatch.setattr("segkit.medical.reading.read_volume", lambda path: read.append(path) or read_volume(path))
    samples, reader = folder.samples("train"), Reader(channels=1, window=(0, 200))
    slices = folder.slices(samples, reader)
    for sample in slices:
        folder.cases.mask(sample)
        folder.cases.mask(sample, inside_roi=False)
    assert sorted(read) == sorted([sample.image for sample in samples] + 2 * [sample.mask for sample in samples])


def test_a_mask_on_another_grid_is_refused(tmp_path):
    write(tmp_path, ["a"])
    moved = LPS.copy()
    moved[0, 3] = 3
    ids = nibabel.load(tmp_path / "masks" / "a.nii.gz").get_fdata().astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(ids, moved), tmp_path / "masks" / "a.nii.gz")
    folder = segkit.open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"a.nii.gz: not on the grid of its picture a.nii.gz: places up to 3 mm apart"):
        folder.read_mask(folder.samples("train")[0])


def test_a_mask_of_several_channels_is_refused(tmp_path):
    write(tmp_path, ["a"])
    ids = np.zeros((*SHAPE, 2), np.uint8)
    nibabel.save(nibabel.Nifti1Image(ids, LPS), tmp_path / "masks" / "a.nii.gz")
    folder = segkit.open_dataset(tmp_path)
    with pytest.raises(DataError, match="the mask has 2 channels; export class ids"):
        folder.read_mask(folder.samples("train")[0])


def test_multilabel_masks_are_a_file_for_each_class(tmp_path):
    write(tmp_path, ["a"])
    (tmp_path / "masks" / "a.nii.gz").unlink()
    (tmp_path / "masks" / "a").mkdir()
    layers = np.random.default_rng(0).integers(0, 2, (2, *SHAPE)).astype(np.uint8)
    for name, layer in zip(("x", "y"), layers, strict=True):
        nibabel.save(nibabel.Nifti1Image(layer, LPS), tmp_path / "masks" / "a" / f"{name}.nii.gz")
    described = {"classes": ["x", "y"], "task": "multilabel", "splits": {"train": ["a"]}}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(described))
    folder = segkit.open_dataset(tmp_path)
    [sample] = folder.samples("train")
    np.testing.assert_array_equal(folder.cases.mask(sample), layers)
    np.testing.assert_array_equal(folder.read_mask(sample), layers.reshape(2, -1, SHAPE[2]))
    dataset = SegmentationDataset(folder, [sample], Reader(channels=1, window=(0, 200)), crop=None)
    turn = read_volume(sample.image).geometry.turn("axial")
    expected = np.stack([turn.of(layer)[1] for layer in layers])
    np.testing.assert_array_equal(dataset[0, 1]["target"].numpy(), expected)


def test_outside_the_region_of_interest_is_ignored(tmp_path):
    write(tmp_path, ["a"])
    (tmp_path / "roi").mkdir()
    inside = np.zeros(SHAPE, np.uint8)
    inside[1:4] = 1
    nibabel.save(nibabel.Nifti1Image(inside, LPS), tmp_path / "roi" / "a.nii.gz")
    described = {"classes": ["background", "part"], "roi": "roi", "splits": {"train": ["a"]}}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(described))
    folder = segkit.open_dataset(tmp_path)
    ids = folder.cases.mask(folder.samples("train")[0])
    assert (ids[inside == 0] == 255).all()
    assert (ids[inside == 1] < 2).all()
    assert (folder.cases.mask(folder.samples("train")[0], inside_roi=False) < 2).all()


def test_slices_of_a_volume_without_known_spacing_are_as_they_are():
    reader = Reader(channels=1, window=(0, 200), slices=Slices(spacing=0.5))
    assert case_of(volume(ramp()), reader).size("axial") == (10, 12)
    assert case_of(volume(ramp(), spaced=False), reader).size("axial") == (5, 6)
