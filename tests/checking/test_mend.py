"""The copy is free of what can be mended; the original stays as it was; what goes wrong leaves nothing behind."""

import json
import shutil

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import segkit
from segkit.checking import mend as mend_module
from segkit.checking.mend import mend
from segkit.checking.mended_mask import moved
from segkit.checking.repairs import plan_repairs
from segkit.cli.main import main
from segkit.data.depth import stored_values
from segkit.data.folder import open_dataset
from segkit.data.masks import read_values
from segkit.data.reader import orientation_of, read_pixels
from segkit.errors import DataError, UsageError

RNG = np.random.default_rng(0)


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.fixture
def mended(cells):
    """Check, mend (everything, or what loses nothing), and check again; the original must not change."""

    def run(*, yes=True):
        before = contents(cells.path)
        report = segkit.check(cells.path)
        planned = plan_repairs(report)
        copy = cells.path.parent / "copy"
        changes = mend(report, copy, [one for one in planned if yes or one.question is None])
        log = json.loads((copy / "mended.json").read_text())["changes"]
        assert [(one.kind, one.what, list(one.names)) for one in changes] == [tuple(row.values()) for row in log]
        assert contents(cells.path) == before
        return copy, segkit.check(copy), planned

    return run


def test_a_clean_dataset_is_copied_as_it_is(cells, mended):
    (cells.path / "README.md").write_text("about")
    copy, report, planned = mended()
    assert planned == []
    before, after = contents(cells.path), contents(copy)
    assert {name for name in after if after[name] != before.get(name)} == {"dataset.yaml", "mended.json"}
    assert open_dataset(copy).splits == open_dataset(cells.path).splits
    assert report.findings == ()


def test_0_and_255_become_ids(cells, mended):
    masks = {name: cells.mask(name) for name in (*cells.train, *cells.val, *cells.test)}
    for name, mask in masks.items():
        cells.write(f"masks/{name}.png", 255 * mask)
    copy, report, _ = mended(yes=False)
    assert report.findings == ()
    for name, mask in masks.items():
        assert np.array_equal(read_values(copy / f"masks/{name}.png"), mask)


def test_colours_become_ids_and_blurred_ones_the_nearest(cells, mended):
    colours = np.array([[20, 30, 40], [250, 10, 10], [0, 0, 255]], np.uint8)
    for name in (*cells.train, *cells.val, *cells.test):
        cells.write(f"masks/{name}.png", colours[cells.mask(name)])
    first, second = cells.train[:2]
    blurred, lost = colours[cells.mask(first)[..., 0] // 255], cells.mask(second)[..., ::-1].copy()
    blurred[0, :5] = [(200, 20, 20), (30, 30, 30), (251, 10, 10), (20, 30, 41), (90, 25, 30)]
    lost[0, :3] = (0, 0, 255)
    cells.write(f"masks/{first}.png", blurred)
    cells.write(f"masks/{second}.png", lost)
    cells.describe(palette={"background": "#141e28", "cell": [250, 10, 10], "ignore": [0, 0, 255]})
    copy, report, _ = mended()
    assert report.findings == ()
    assert read_values(copy / f"masks/{first}.png")[0, :5].tolist() == [1, 0, 1, 0, 0]
    assert read_values(copy / f"masks/{second}.png")[0, :3].tolist() == [255, 255, 255]
    assert "palette" not in (copy / "dataset.yaml").read_text()


def test_masks_that_stay_in_colour_are_left_out_and_told(cells, mended):
    colours = np.array([[20, 30, 40], [250, 10, 10]], np.uint8)
    for name in (*cells.train, *cells.val, *cells.test):
        cells.write(f"masks/{name}.png", colours[cells.mask(name)])
    name = cells.train[0]
    strange = cells.mask(name)[..., ::-1].copy()
    strange[0, :3] = (0, 0, 255)
    cells.write(f"masks/{name}.png", strange)
    cells.describe(palette={"background": "#141e28", "cell": [250, 10, 10]})
    copy, report, _ = mended(yes=False)
    assert report.findings == ()
    after = open_dataset(copy)
    assert after.samples("train")
    assert name not in after.files
    assert list(after.splits["train"]) == cells.train[1:]
    what = "pictures are left out whose masks have colours that are not in the palette"
    assert {"kind": "omit", "what": what, "names": [name]} in json.loads((copy / "mended.json").read_text())["changes"]


def test_masks_in_colour_become_ids_whatever_else_is_mended(cells, tmp_path):
    masks = {name: cells.mask(name) for name in (*cells.train, *cells.val, *cells.test)}
    for name, mask in masks.items():
        cells.write(f"masks/{name}.png", np.array([[20, 30, 40], [250, 10, 10]], np.uint8)[mask])
    cells.describe(palette={"background": "#141e28", "cell": [250, 10, 10]})
    mend(segkit.check(cells.path), tmp_path / "copy", [])
    copy = open_dataset(tmp_path / "copy")
    for name, mask in masks.items():
        assert np.array_equal(copy.read_mask(copy.files[name]), mask)


def test_lossy_and_interpolated_masks_take_the_nearest_class_when_asked(cells, mended):
    first, second = cells.train[:2]
    true = {name: cells.mask(name) for name in (first, second)}
    cells.write(f"masks/{first}.jpg", 255 * true[first], cv2.IMWRITE_JPEG_QUALITY, 90)
    (cells.path / f"masks/{first}.png").unlink()
    cells.write(f"masks/{second}.png", cv2.GaussianBlur(255 * true[second], (3, 3), 0))
    copy, report, planned = mended(yes=False)
    assert {one.kind for one in report.errors} == {"lossy", "interpolated"}
    assert [(one.kind, one.names) for one in planned] == [("nearest", (first, second))]
    shutil.rmtree(copy)
    copy, report, _ = mended()
    assert report.errors == ()
    for name, mask in true.items():
        assert (read_values(copy / f"masks/{name}.png") != mask).mean() < 0.02
    assert not (copy / f"masks/{first}.jpg").exists()


def test_ids_that_are_no_class_are_ignored_and_255_read_as_foreground_when_asked(cells, mended):
    first, second = cells.train[:2]
    mask = cells.mask(first)
    mask[:3] = 9
    cells.write(f"masks/{first}.png", mask)
    foreground = cells.mask(second)
    cells.write(f"masks/{second}.png", 255 * foreground)
    copy, report, _ = mended()
    assert report.findings == ()
    after = read_values(copy / f"masks/{first}.png")
    assert (after[:3] == 255).all()
    assert np.array_equal(after[3:], mask[3:])
    assert np.array_equal(read_values(copy / f"masks/{second}.png"), foreground)


def test_turned_pictures_are_written_upright_with_all_that_belongs_to_them(cells, mended):
    name = cells.train[0]
    image, mask = cells.image(name)[:48], cells.mask(name)[:48]
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(image)))
    exif = stored.getexif()
    exif[0x0112] = 6
    stored.save(cells.path / f"images/{name}.png", exif=exif)
    cells.write(f"masks/{name}.png", np.rot90(mask))
    cells.write(f"depth/{name}.png", np.rot90(mask).astype(np.uint16) * 900)
    cells.describe(depth_unit="mm")
    copy, report, _ = mended(yes=False)
    assert [one.kind for one in report.findings] == ["no_depth"]  # of the other pictures
    assert np.array_equal(read_pixels(copy / f"images/{name}.png"), image)
    assert np.array_equal(read_values(copy / f"masks/{name}.png"), mask)
    assert np.array_equal(read_values(copy / f"depth/{name}.png"), mask.astype(np.uint16) * 900)


@pytest.mark.parametrize(
    ("suffix", "values"),
    [
        (".npy", RNG.random((48, 64)).astype(np.float16)),
        (".npy", RNG.integers(0, 9, (48, 64, 2))),
        (".tif", np.where(RNG.random((48, 64)) < 0.5, np.nan, 2).astype(np.float32)),
        (".tif", RNG.random((48, 64, 5)).astype(np.float32)),
        (".png", RNG.integers(0, 65536, (48, 64), dtype=np.uint16)),
        (".png", RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)),
    ],
)
@pytest.mark.parametrize("stored", [True, False])
def test_depth_of_any_type_is_turned_with_its_picture_or_copied_as_it_is(cells, mended, suffix, values, stored):
    name = cells.train[0]
    image, mask = cells.image(name)[:48], cells.mask(name)[:48]
    picture = Image.fromarray(np.ascontiguousarray(np.rot90(image)))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(cells.path / f"images/{name}.png", exif=exif)
    cells.write(f"masks/{name}.png", mask)
    path = cells.path / f"depth/{name}{suffix}"
    path.parent.mkdir()
    written = np.rot90(values) if stored else values
    if suffix == ".npy":
        np.save(path, written)
    elif suffix == ".tif":
        layout = {"planarconfig": "contig"} if values.ndim == 3 else {}
        tifffile.imwrite(path, written, photometric="minisblack", **layout)
    else:
        cells.write(f"depth/{name}.png", written)
    cells.describe(depth_unit="relative")
    copy, _, _ = mended(yes=False)
    folder = open_dataset(copy)
    found = stored_values(folder.files[name].depth)
    assert found.dtype == values.dtype
    assert np.array_equal(found.squeeze(), values, equal_nan=values.dtype.kind == "f")
    if not stored:
        assert (copy / f"depth/{name}{suffix}").read_bytes() == path.read_bytes()


def test_what_is_said_about_depth_is_kept(cells, mended):
    camera = {"fx": 60.5, "fy": 60.0, "cx": 31.5, "cy": 31.0}
    said = {
        "depth_unit": "disparity",
        "depth_invalid": [0, 65535],
        "depth_focal_baseline": 7.5,
        "intrinsics": camera,
        "depth_intrinsics": camera,
        "depth_to_colour": np.eye(4).tolist(),
    }
    cells.describe(**said)
    before = open_dataset(cells.path)
    copy, _, _ = mended()
    after = open_dataset(copy)
    assert before.alignment is not None
    assert (after.depth_format, after.intrinsics, after.alignment) == (
        before.depth_format,
        before.intrinsics,
        before.alignment,
    )


def test_splits_are_mended(cells, mended):
    groups = {"patient": [cells.train[1], cells.test[1]]}
    splits = {"train": [*cells.train, "ghost", cells.test[0]], "val": [], "test": cells.test}
    cells.describe(splits=splits, groups=groups)
    (cells.path / f"masks/{cells.train[0]}.png").unlink()
    (cells.path / f"images/{cells.train[2]}.png").write_bytes(b"")
    shutil.copy(cells.path / f"images/{cells.test[0]}.png", cells.path / f"images/{cells.train[3]}.png")
    shutil.copy(cells.path / f"masks/{cells.test[0]}.png", cells.path / f"masks/{cells.train[3]}.png")
    copy, report, _ = mended()
    assert report.errors == ()
    after = open_dataset(copy).splits
    assert list(after["test"]) == cells.test
    assert len(after["val"]) == 1
    assert {*after["train"], *after["val"]} == set(cells.train[4:])
    assert not (copy / f"images/{cells.train[2]}.png").exists()
    log = json.loads((copy / "mended.json").read_text())
    assert {
        "kind": "one_split",
        "what": "names in two splits stay in the one for testing",
        "names": [cells.test[0]],
    } in log["changes"]


def test_splits_that_were_never_there_are_drawn(cells, mended):
    cells.describe(splits={"train": [], "val": [], "test": []})
    copy, report, _ = mended(yes=False)
    assert report.errors == ()
    assert {split: len(stems) for split, stems in open_dataset(copy).splits.items()} == {
        "train": 8,
        "val": 2,
        "test": 2,
    }


def test_splits_of_other_names_stay_as_they_are(cells, mended):
    splits = {"training": cells.train, "official_test": [*cells.val, *cells.test]}
    cells.describe(splits=splits)
    copy, report, planned = mended()
    assert not any(one.kind == "draw" for one in planned)
    assert {split: list(stems) for split, stems in open_dataset(copy).splits.items()} == splits
    assert report.errors == ()


def test_nothing_is_drawn_from_what_is_for_testing(cells, mended):
    cells.describe(splits={"train": cells.train[:1], "val": [], "test": cells.test})
    (cells.path / f"images/{cells.train[0]}.png").write_bytes(b"")
    copy, report, _ = mended()
    assert list(open_dataset(copy).splits["test"]) == cells.test
    assert "empty_split" in {found.kind for found in report.findings}


def test_keys_that_scores_depend_on_go_only_when_asked(cells, mended):
    cells.describe(splits={"train": cells.train, "val": cells.val, "test": [*cells.test, {"a": 1}]})
    with pytest.raises(
        DataError, match=r"dataset.yaml: splits.test\[\d\]: .*; correct it first \(a copy is without it"
    ):
        mended(yes=False)
    assert not (cells.path.parent / "copy").exists()
    (asked,) = (one for one in plan_repairs(segkit.check(cells.path)) if one.kind == "description")
    assert asked.question == "splits would be drawn or guessed anew"
    cells.describe(splits={"train": cells.train, "val": cells.val, "test": cells.test}, colour="red")
    (safe,) = (one for one in plan_repairs(segkit.check(cells.path)) if one.kind == "description")
    assert safe.question is None


def test_groups_that_share_a_picture_are_joined_and_a_leak_between_others_is_still_seen(cells, mended):
    leak, *rest = cells.train
    cells.describe(groups={"one": [leak, cells.test[0]], "two": rest[:2], "three": rest[1:4], "four": rest[3:5]})
    report = segkit.check(cells.path)
    found = {one.kind: one.places for one in report.findings}
    (fault,) = found["description"]
    assert fault.detail.startswith(f"groups: the picture {rest[1]} is in two and in three, and may be in one group")
    assert [place.name for place in found["group"]] == ["one"]
    copy, _, planned = mended(yes=False)
    assert next(one for one in planned if one.kind == "description").question is None
    kept = open_dataset(copy).groups
    assert {name: set(stems) for name, stems in kept.items()} == {"one": {leak, cells.test[0]}, "two": set(rest[:5])}


def test_pictures_that_are_left_out_are_not_drawn_again(cells, mended):
    cells.describe(splits={"train": [], "val": [], "test": []})
    broken, strange = cells.train[:2]
    cells.write(f"masks/{strange}.png", cells.mask(strange)[:20])  # of another shape: dropped
    (cells.path / f"fov/{broken}.png").parent.mkdir()
    for name in (*cells.train, *cells.val, *cells.test):
        cells.write(f"fov/{name}.png", np.ones((64, 64)))
    (cells.path / f"fov/{broken}.png").write_bytes(b"")  # unreadable: left out
    cells.describe(roi="fov")
    copy, _, _ = mended()
    after = open_dataset(copy)
    assert sum(map(len, after.splits.values())) == 10
    assert not {broken, strange} & {stem for stems in after.splits.values() for stem in stems}
    assert len(after.samples("train", "val", "test")) == 10


def test_a_mask_in_colour_is_not_read_by_one_of_its_channels(cells, mended):
    file = cells.path / f"masks/{cells.train[0]}.png"
    red = np.zeros((64, 64, 4), np.uint8)
    red[..., 0], red[..., 3] = 255 * cells.mask(cells.train[0]), 255
    Image.fromarray(red).save(file)
    copy, after, planned = mended()
    assert (copy / file.relative_to(cells.path)).read_bytes() == file.read_bytes()
    assert "colour" in {found.kind for found in after.findings}
    assert not [one for one in planned if one.kind == "ids"]


def test_a_mask_is_turned_once(cells, mended):
    masks = {name: cells.mask(name) for name in (*cells.train, *cells.val, *cells.test)}
    name = cells.train[0]
    masks[name] = masks[name][:48]
    cells.write(f"images/{name}.png", cells.image(name)[:48])
    for each, mask in masks.items():
        cells.write(f"masks/{each}.png", mask.T if each == name else mask[:, ::-1])
    copy, _, planned = mended()
    turned = {repair.kind: repair for repair in planned if repair.kind.startswith("turn ")}
    assert turned["turn transposed"].names == (name,)
    assert turned["turn mirrored left to right"].what == "all other masks are mirrored left to right"
    assert set(turned["turn mirrored left to right"].names) == set(masks) - {name}
    for each, mask in masks.items():
        assert np.array_equal(read_values(copy / f"masks/{each}.png"), mask)


@pytest.mark.parametrize("turn", [lambda m: m[:, ::-1], lambda m: np.rot90(m)])
def test_masks_that_were_turned_are_turned_back_when_asked(cells, mended, turn):
    masks = {name: cells.mask(name) for name in (*cells.train, *cells.val, *cells.test)}
    for name, mask in masks.items():
        cells.write(f"masks/{name}.png", turn(mask))
    copy, report, _ = mended()
    assert report.findings == ()
    for name, mask in masks.items():
        assert np.array_equal(read_values(copy / f"masks/{name}.png"), mask)


def test_a_mask_of_another_size_is_turned_resized_or_left_out_when_asked(cells, mended):
    first, second, third = cells.train[:3]
    true = cells.mask(first)[:48]
    cells.write(f"images/{first}.png", cells.image(first)[:48])
    cells.write(f"masks/{first}.png", true.T)
    large = cells.mask(second)
    cells.write(f"masks/{second}.png", np.kron(large, np.ones((2, 2), np.uint8)))
    cells.write(f"masks/{third}.png", cells.mask(third)[:20])
    copy, report, _ = mended()
    assert [one.kind for one in report.errors] == ["size"]  # of a picture that is in no split any more
    assert np.array_equal(read_values(copy / f"masks/{first}.png"), true)
    assert np.array_equal(read_values(copy / f"masks/{second}.png"), large)
    assert third not in open_dataset(copy).splits["train"]


def test_of_depth_that_cannot_be_used_the_map_alone_is_left_out(cells, mended):
    cells.describe(depth_unit="mm")
    cut, lost, small, twice, right = cells.train[:5]
    metre = np.full((64, 64), 1000, np.uint16)
    for name in (cut, twice, right):
        cells.write(f"depth/{name}.png", metre)
    whole = (cells.path / f"depth/{cut}.png").read_bytes()
    (cells.path / f"depth/{cut}.png").write_bytes(whole[:-20])
    (cells.path / f"depth/{lost}.png").symlink_to(cells.path / "nowhere.png")
    cells.write(f"depth/{small}.png", metre[:32])
    np.save(cells.path / f"depth/{twice}.npy", metre)
    copy, report, changes = mended()
    assert report.errors == ()
    told = {(one.kind, one.names, one.question is None) for one in changes}
    assert told == {
        ("no_depth", (cut, lost), True),
        ("no_depth", (small,), False),
        ("one_depth", (twice,), False),
    }
    assert sorted(file.name for file in (copy / "depth").iterdir()) == sorted([f"{right}.png", f"{twice}.npy"])
    assert open_dataset(copy).splits == {split: tuple(names) for split, names in cells.description["splits"].items()}


def test_moving_ignores_what_comes_in():
    ids = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert moved(ids, (1, -1)).tolist() == [[255, 255, 255], [1, 2, 255]]
    assert moved(ids, (-1, 2)).tolist() == [[255, 255, 3], [255, 255, 255]]


def test_where_a_copy_cannot_go(cells, tmp_path):
    report = segkit.check(cells.path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(UsageError, match="taken: is there already; a copy needs a new or empty folder"):
        mend(report, tmp_path / "taken", [])
    with pytest.raises(UsageError, match="a copy can't lie in its dataset"):
        mend(report, cells.path / "copy", [])
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"copy: can't be written \(.*\); nothing was left there"):
        mend(report, tmp_path / "file" / "copy", [])
    (tmp_path / "empty").mkdir()
    assert mend(report, tmp_path / "empty", []) == []
    assert (tmp_path / "empty" / "images").is_dir()


def test_a_full_disk_leaves_nothing(cells, tmp_path, monkeypatch):
    report = segkit.check(cells.path)
    there = sorted(tmp_path.iterdir())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mend_module.shutil, "copy2", full)
    with pytest.raises(UsageError, match=r"copy: can't be written \(No space left on device\)"):
        mend(report, tmp_path / "copy", [])
    assert sorted(tmp_path.iterdir()) == there


def test_without_knowing_the_classes_nothing_is_mended(cells, tmp_path):
    cells.describe(classes=["x", "x"])
    with pytest.raises(DataError, match=r"what the masks' values mean isn't known; mend dataset\.yaml first"):
        mend(segkit.check(cells.path), tmp_path / "copy", [])


def test_an_id_too_many_beside_255_leaves_the_classes_as_they_are(cells, mended):
    name = cells.train[0]
    mask = cells.mask(name)
    mask[0, :4], mask[1] = 2, 255
    cells.write(f"masks/{name}.png", mask)
    cells.describe(ignore_index=255)
    copy, report, _ = mended()
    assert report.findings == ()
    expected = np.where(mask == 2, 255, mask)
    assert np.array_equal(read_values(copy / f"masks/{name}.png"), expected)


@pytest.mark.parametrize(
    ("given", "question"),
    [
        ({"split": {"train": ["a"]}, "splits": None}, "splits would be drawn or guessed anew"),
        ({"task": "multi-label"}, "task would be drawn or guessed anew"),
    ],
)
def test_a_misspelt_key_is_asked_about_as_the_right_one(cells, given, question):
    cells.describe(**given)
    (asked,) = (one for one in plan_repairs(segkit.check(cells.path)) if one.kind == "description")
    assert asked.question == question


@pytest.mark.parametrize(
    ("more", "question"),
    [
        ({"training": (4, 9)}, "Which of train and training is for testing isn't known"),
        ({"all": (0, 8)}, "Nothing is left of train"),
        ({"extra": (0, 1)}, None),
    ],
)
def test_names_in_two_splits_are_asked_about_where_the_splits_do_not_say(cells, more, question):
    ((split, (first, last)),) = more.items()
    stems = [*cells.train, *cells.val][first:last]
    cells.describe(splits={"train": cells.train, "val": cells.val[1:], "test": cells.test, split: stems})
    (asked,) = (one for one in plan_repairs(segkit.check(cells.path)) if one.kind == "one_split")
    assert asked.question == question


def test_names_with_their_suffix_empty_no_split_unasked(cells):
    cells.describe(splits={"train": [f"{name}.png" for name in cells.train], "val": cells.val, "test": cells.test})
    report = segkit.check(cells.path)
    (found,) = (one for one in report.findings if one.kind == "no_picture")
    assert found.places[0].detail == f"train; write {cells.train[0]}"
    (asked,) = (one for one in plan_repairs(report) if one.kind == "drop")
    assert asked.question == "Nothing is left of train"


def test_a_picture_stays_as_it_lies_where_its_mask_can_not_be_turned(cells, mended):
    name = cells.train[0]
    image, mask = cells.image(name)[:48], cells.mask(name)[:48]
    mask[0, 0] = 7
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(image)))
    exif = stored.getexif()
    exif[0x0112] = 6
    stored.save(cells.path / f"images/{name}.png", exif=exif)
    cells.write(f"masks/{name}.png", np.rot90(mask))
    copy, report, _ = mended(yes=False)
    assert {one.kind for one in report.findings} == {"unknown_ids", "exif"}
    assert (copy / f"images/{name}.png").read_bytes() == (cells.path / f"images/{name}.png").read_bytes()
    assert "upright" not in {row["kind"] for row in json.loads((copy / "mended.json").read_text())["changes"]}


def test_a_region_of_another_size_does_not_stop_the_mending_of_others(cells, mended):
    name = cells.train[0]
    stored = Image.fromarray(cells.image(name))
    exif = stored.getexif()
    exif[0x0112] = 6
    stored.save(cells.path / f"images/{name}.png", exif=exif)
    for each in (*cells.train, *cells.val, *cells.test):
        cells.write(f"fov/{each}.png", np.ones((64, 64)))
    cells.write(f"fov/{name}.png", np.ones((20, 30)))
    cells.describe(roi="fov")
    copy, report, _ = mended(yes=False)
    assert [one.kind for one in report.errors] == ["size"]
    assert orientation_of(copy / f"images/{name}.png") == 1


def test_a_copy_does_not_take_the_place_of_the_folder_that_one_is_in(cells, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["check", str(cells.path), "--fix", "."]) == 2
    assert ".: is the folder that you are in; name another, which may be new" in capsys.readouterr().err


def test_links_that_go_round_are_followed_once(cells, mended):
    (cells.path / "round").symlink_to(cells.path, target_is_directory=True)
    (cells.path / "notes").mkdir()
    (cells.path / "notes" / "a.txt").write_text("a")
    (cells.path / "linked").symlink_to(cells.path / "notes", target_is_directory=True)
    copy, _, _ = mended()
    assert (copy / "linked/a.txt").read_text() == (copy / "notes/a.txt").read_text() == "a"
    assert not (copy / "round").exists()


def test_what_is_not_drawn_is_not_said_to_be(cells, mended):
    cells.describe(splits={"train": cells.train[:1], "val": [], "test": []})
    copy, _, _ = mended()
    assert open_dataset(copy).splits == {"train": (cells.train[0],), "val": (), "test": ()}
    assert "draw" not in {row["kind"] for row in json.loads((copy / "mended.json").read_text())["changes"]}
