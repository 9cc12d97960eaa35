"""NYUv2's usual export, made up small: converted, opened, and trained on by the shipped recipe."""

import importlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import segkit
from segkit.errors import DataError

SMALL = (
    "model.backbone={name: stem, width: 4, depth: 3}",
    "model.depth={name: stem, width: 4, depth: 3}",
    "model.neck={name: fpn, width: 8}",
    "data.crop=32",
    "train.batch=6",
    "train.epochs=2",
    "train.workers=0",
    "predict={tile: null}",
)


@pytest.fixture
def nyuv2(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("nyuv2_folder")


@pytest.fixture
def exported(tmp_path):
    """Twelve rooms of a floor and a wall, 48 × 64, as the usual scripts write them, and a thirteenth in no list."""
    place, rng = tmp_path / "exported", np.random.default_rng(0)
    for kind in ("rgb", "depth", "label40"):
        (place / kind).mkdir(parents=True)
    for number in range(1, 14):
        name, label = f"{number:04}.png", np.full((48, 64), 1, np.uint8)
        label[30:], label[:2] = 2, 0
        label[5:15, 5:15] = 40
        depth = np.full((48, 64), 2500, np.uint16) + rng.integers(0, 99, (48, 64), np.uint16)
        depth[:, :3] = 0
        cv2.imwrite(str(place / "rgb" / name), rng.integers(0, 256, (48, 64, 3), np.uint8))
        cv2.imwrite(str(place / "depth" / name), depth)
        cv2.imwrite(str(place / "label40" / name), label)
    (place / "train.txt").write_text("".join(f"{number:04}\n" for number in range(1, 9)))
    (place / "test.txt").write_text("".join(f"rgb/{n:04}.png depth/{n:04}.png\n" for n in range(9, 13)) + "\n")
    return place


def test_it_is_opened_and_the_recipe_trains_on_it(nyuv2, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(nyuv2, "BLOCK", 2)
    monkeypatch.setattr(nyuv2, "BLOCKS", 4)
    place = tmp_path / "nyuv2"
    assert nyuv2.nyuv2_folder(exported, place)["val"] == ["0007", "0008"]
    folder = segkit.open_dataset(place)
    assert {name: len(stems) for name, stems in folder.splits.items()} == {"train": 6, "val": 2, "test": 4}
    assert (len(folder.classes), folder.classes[0], folder.classes[39]) == (40, "wall", "other prop")
    assert (folder.task, folder.background, folder.depth_format.unit) == ("multiclass", None, "mm")
    assert folder.intrinsics is None  # of pictures that aren't 480 × 640
    sample = folder.samples("test")[0]
    ids = folder.read_mask(sample)
    assert [int(ids[row, 7]) for row in (0, 7, 20, 40)] == [255, 39, 0, 1]
    depth = folder.read_depth(sample, ids.shape)
    assert not depth[:, :3].any()
    assert depth[0, 10, 0] == pytest.approx(2.5, abs=0.1)
    run = segkit.train("nyuv2", place, overrides=SMALL, out=tmp_path / "runs")
    assert len(run.metrics["images"]) == 2
    model = segkit.load(run.directory / "model")
    assert model.reader.metric
    assert segkit.Predictor(model).predict(sample.image, depth=sample.depth).probabilities.shape == (40, 48, 64)


def test_made_again_of_other_files_it_links_to_those(nyuv2, exported, tmp_path):
    nyuv2.nyuv2_folder(exported, tmp_path / "nyuv2")
    (exported / "depth").rename(exported / "painted")
    for file in (exported / "painted").iterdir():
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED) * 10)
    nyuv2.nyuv2_folder(exported, tmp_path / "nyuv2", unit="0.1mm", depth="painted")
    folder = segkit.open_dataset(tmp_path / "nyuv2")
    assert folder.read_depth(folder.samples("test")[0], (48, 64))[20, 20, 0] == pytest.approx(2.5, abs=0.1)


def test_whole_pictures_bring_the_cameras_numbers(nyuv2, exported, tmp_path):
    for file in (exported / "rgb").iterdir():
        cv2.imwrite(str(file), np.zeros((480, 640, 3), np.uint8))
    nyuv2.nyuv2_folder(exported, tmp_path / "nyuv2")
    assert yaml.safe_load((tmp_path / "nyuv2" / "dataset.yaml").read_text())["intrinsics"]["fx"] == 518.8579


def test_of_few_pictures_one_is_for_validation_and_the_command_says_what_is_wrong(
    nyuv2, exported, tmp_path, monkeypatch
):
    assert nyuv2.official(exported)["val"] == ["0008"]
    monkeypatch.setattr(sys, "argv", ["nyuv2_folder.py", str(exported), str(tmp_path / "made"), "--unit", "0.1mm"])
    with pytest.raises(SystemExit, match=r"^error: .*that is no room: give the right --unit"):
        nyuv2.main()


def test_validation_is_every_tenth_block_of_eight(nyuv2, exported):
    (exported / "train.txt").write_text("\n".join(f"{number:04}" for number in range(1000, 1795)))
    splits = nyuv2.official(exported)
    assert (len(splits["train"]), len(splits["val"])) == (720, 75)
    assert splits["val"][:8] == [f"{number}" for number in range(1072, 1080)]


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda place: (place / "rgb" / "0003.png").unlink(), {}, "rgb: no file '0003' for images/, but for example"),
        (lambda place: (place / "test.txt").write_text("0008"), {}, "0008 is in train.txt and in test.txt"),
        (lambda place: (place / "test.txt").unlink(), {}, "test.txt: no such file; it lists"),
        (lambda _: None, {"unit": "0.1mm"}, "nearer than 0.255 m, if values are in 0.1mm; that is no room"),
        (
            lambda place: cv2.imwrite(str(place / "label40" / "0002.png"), np.full((48, 64), 41, np.uint8)),
            {},
            "0002.png: holds 41; expected the classes 1 to 40",
        ),
    ],
)
def test_what_is_wrong_is_said(nyuv2, exported, tmp_path, spoil, options, message):
    spoil(exported)
    with pytest.raises(DataError, match=message):
        nyuv2.nyuv2_folder(exported, tmp_path / "nyuv2", **options)
