from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from segkit.data.folder import Sample, open_dataset
from segkit.data.normalisation import PICTURES, channel_statistics, depth_statistics
from segkit.data.reader import Reader
from segkit.errors import DataError

PICTURES_ALONE = SimpleNamespace(slices=lambda samples, _: list(samples))  # a dataset without volumes


def samples(folder, pictures):
    for i, pixels in enumerate(pictures):
        cv2.imwrite(str(folder / f"{i}.png"), pixels)
    return [Sample(str(i), folder / f"{i}.png") for i in range(len(pictures))]


def test_mean_and_deviation_over_all_pixels_in_red_green_blue_order(tmp_path):
    pictures = [np.full((2, 3, 3), (0, 51, 255), np.uint8), np.full((4, 3, 3), (0, 51, 0), np.uint8)]  # blue first
    mean, deviation = channel_statistics(samples(tmp_path, pictures), PICTURES_ALONE, Reader())
    assert mean == pytest.approx([1 / 3, 0.2, 0])
    assert deviation[0] == pytest.approx((1 / 3 * 2 / 3) ** 0.5, abs=1e-6)
    assert deviation[1:] == [1.0, 1.0]  # constant channels are left as they are


def test_many_pictures_are_sampled_evenly(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(Reader, "read", lambda _, path: read.append(int(path)) or np.zeros((1, 1, 3), np.float32))
    channel_statistics([Sample(str(i), i) for i in range(2 * PICTURES)], PICTURES_ALONE, Reader())
    assert read == list(range(0, 2 * PICTURES, 2))


def depth_folder(maker, maps, **description):
    import tifffile

    path = maker({name: np.eye(2, 3) for name in maps}, classes=["x", "y"], splits={"train": list(maps)}, **description)
    (path / "depth").mkdir()
    for name, values in maps.items():
        if values is not None:
            values = np.asarray(values, np.float32)
            layout = {"planarconfig": "contig"} if values.ndim == 3 else {}
            tifffile.imwrite(path / f"depth/{name}.tif", values, photometric="minisblack", **layout)
    return open_dataset(path)


def test_depth_is_averaged_over_what_is_measured(maker):
    maps = {"a": [[0, 1, 2], [np.nan, 4, -1]], "b": None, "c": [[5, 0, 0], [0, 0, 0]]}
    folder = depth_folder(maker, maps, depth_unit="m")
    mean, deviation = depth_statistics(folder.samples("train"), folder)
    assert mean == pytest.approx([3])
    assert deviation == pytest.approx([np.std([1, 2, 4, 5])])
    mean, deviation = depth_statistics(folder.samples("train"), folder, inverse=True)
    assert mean == pytest.approx([np.mean([1, 0.5, 0.25, 0.2])])
    assert deviation == pytest.approx([np.std([1, 0.5, 0.25, 0.2])])


def test_channels_of_another_modality_have_a_mean_each_whatever_their_size(maker):
    values = np.array([[[-2e-5, 5e6], [-4e-5, 5e6]]])
    folder = depth_folder(maker, {"a": values.repeat(2, 0)}, depth_unit="relative")
    mean, deviation = depth_statistics(folder.samples("train"), folder)
    assert mean == pytest.approx([-3e-5, 5e6])
    assert deviation == pytest.approx([1e-5, 1])


def test_depth_that_has_no_statistics_says_why(maker):
    folder = depth_folder(maker, {"a": np.zeros((2, 3)), "b": None}, depth_unit="relative")
    a, b = folder.samples("train")
    with pytest.raises(
        DataError, match=r"depth: nothing is measured in any of the 1 files; check depth_unit and depth"
    ):
        depth_statistics([a, b], folder)
    with pytest.raises(DataError, match=r"none of the 1 pictures asked for has a file in depth/"):
        depth_statistics([b], folder)
    with pytest.raises(DataError, match=r"depth is relative, not in metres: its inverse means nothing"):
        depth_statistics([a], folder, inverse=True)


def test_depth_of_pictures_that_are_zoomed_is_divided_by_the_zoom(maker):
    folder = depth_folder(maker, {"a": np.full((2, 3), 3.0)}, depth_unit="m")
    samples = folder.samples("train")
    assert depth_statistics(samples, folder, size=(4, 6))[0] == pytest.approx([1.5])
    assert depth_statistics(samples, folder, size=(4, 6), inverse=True)[0] == pytest.approx([1 / 1.5])
