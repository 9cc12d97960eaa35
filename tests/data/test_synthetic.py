import cv2
import numpy as np
import pytest

from segkit.data.depth_format import DepthFormat
from segkit.data.folder import open_dataset
from segkit.data.reader import read_pixels
from segkit.data.synthetic import draw_cells
from segkit.errors import UsageError


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return draw_cells(tmp_path_factory.mktemp("cells"), images=8, size=96, seed=1)


def test_drawn_cells_are_a_dataset_that_opens(cells):
    folder = open_dataset(cells)
    assert (folder.task, folder.classes, folder.depth_format, folder.notes) == (
        "binary",
        ("background", "cell"),
        DepthFormat(unit="0.1mm"),
        (),
    )
    assert {split: len(stems) for split, stems in folder.splits.items()} == {"train": 6, "val": 1, "test": 1}
    for sample in folder.samples("train", "val", "test"):
        image, depth = read_pixels(sample.image), read_pixels(sample.depth)
        assert image.shape == (96, 96, 3)
        assert image.dtype == np.uint8
        assert depth.shape == (96, 96, 1)
        assert depth.dtype == np.uint16
        assert set(np.unique(folder.read_mask(sample))) == {0, 1}


def test_the_same_arguments_give_the_same_bytes(cells, tmp_path):
    draw_cells(tmp_path / "same", images=8, size=96, seed=1)
    draw_cells(tmp_path / "other", images=8, size=96, seed=2)
    files = sorted(path.relative_to(cells) for path in cells.rglob("*.*"))
    assert len(files) == 25
    assert all((cells / file).read_bytes() == (tmp_path / "same" / file).read_bytes() for file in files)
    image = "images/cells_000.png"
    assert (cells / image).read_bytes() != (tmp_path / "other" / image).read_bytes()


def test_cells_rise_from_the_slide_and_some_depth_is_missing(cells):
    rises, missing = [], []
    for path in sorted((cells / "depth").iterdir()):
        depth = read_pixels(path)[..., 0].astype(float)
        mask = cv2.imread(str(cells / "masks" / path.name), cv2.IMREAD_UNCHANGED)
        measured = depth > 0
        rises.append(depth[measured & (mask == 0)].mean() - depth[measured & (mask == 1)].mean())
        missing.append(1 - measured.mean())
    assert min(rises) > 5  # 0.5 mm nearer to the camera
    assert 0.001 < np.mean(missing) < 0.1


def test_cells_differ_from_the_slide_but_no_threshold_finds_them(cells):
    """The best threshold of any picture's green channel, found with the answer at hand, stays clearly short of 1."""
    best = []
    for path in sorted((cells / "images").iterdir()):
        green = read_pixels(path)[..., 1]
        mask = cv2.imread(str(cells / "masks" / path.name), cv2.IMREAD_UNCHANGED) == 1
        found = [green < level for level in range(40, 250, 5)]
        best.append(max(2 * (f & mask).sum() / (f.sum() + mask.sum()) for f in found))
    assert 0.6 < np.mean(best) < 0.92


def test_another_dataset_is_not_drawn_over(tmp_path):
    draw_cells(tmp_path / "cells", images=3, size=32)
    draw_cells(tmp_path / "cells", images=4, size=32)
    (tmp_path / "cells" / "images" / "mine.png").touch()
    before = (tmp_path / "cells" / "dataset.yaml").read_bytes()
    with pytest.raises(UsageError, match="cells: holds a dataset that was not drawn here; choose another folder"):
        draw_cells(tmp_path / "cells", images=3, size=32)
    assert (tmp_path / "cells" / "dataset.yaml").read_bytes() == before


def test_senseless_requests_are_refused(tmp_path):
    with pytest.raises(UsageError, match="3 pictures or more of side 32 or more, not 2 of 192"):
        draw_cells(tmp_path, images=2)
    with pytest.raises(UsageError, match=r"splits: expected three positive shares .* found \(0.5, 0.6, 0.1\)"):
        draw_cells(tmp_path, splits=(0.5, 0.6, 0.1))
