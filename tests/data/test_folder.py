import cv2
import numpy as np
import pytest
from PIL import Image

from segkit.data.camera import Intrinsics
from segkit.data.coding import MIXED
from segkit.data.dataset import SegmentationDataset
from segkit.data.depth_format import DepthFormat
from segkit.data.description import describe
from segkit.data.folder import open_dataset
from segkit.data.normalisation import depth_statistics
from segkit.data.reader import Reader
from segkit.errors import DataError, UsageError

MASK = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)
SPLITS = {"train": ["a"], "val": ["b"]}


def test_a_described_dataset_opens_with_every_default_decided(maker):
    path = maker({"a": MASK, "b": 1 - MASK}, name="tiny", classes=["slide", "cell"], splits=SPLITS, depth_unit="mm")
    maker.write("depth/a.png", MASK)
    folder = open_dataset(path)
    assert (folder.name, folder.task, folder.classes, folder.background) == ("tiny", "binary", ("slide", "cell"), 0)
    assert (folder.depth_format, folder.palette, folder.ignore_index, folder.notes) == (
        DepthFormat(unit="mm"),
        None,
        None,
        (),
    )
    [sample] = folder.samples("train")
    assert (sample.name, sample.image, sample.mask) == ("a", path / "images/a.png", path / "masks/a.png")
    assert (sample.depth, sample.roi) == (path / "depth/a.png", None)
    assert np.array_equal(folder.read_mask(sample), MASK)
    assert folder.read_mask(sample).dtype == np.uint8
    assert [s.name for s in folder.samples("val", "train", "val")] == ["b", "a"]


@pytest.mark.parametrize(
    ("classes", "given", "task", "background"),
    [
        (["x", "y"], {}, "binary", 0),
        (["x", "y", "z"], {}, "multiclass", None),
        (["Background", "y", "z"], {}, "multiclass", 0),
        (["x", "background", "z"], {}, "multiclass", 1),
        (["x", "y", "z"], {"background": "z"}, "multiclass", 2),
        (["x", "y", "z"], {"background": 1}, "multiclass", 1),
        (["background", "y"], {"task": "multiclass"}, "multiclass", 0),
        (["x", "background"], {"task": "multiclass", "background": 1}, "multiclass", 1),
    ],
)
def test_task_and_background_follow_from_the_classes(maker, classes, given, task, background):
    folder = open_dataset(maker({"a": MASK}, classes=classes, splits={"train": ["a"]}, **given))
    assert (folder.task, folder.background) == (task, background)


def test_one_class_is_a_foreground_before_a_background(maker):
    folder = open_dataset(maker({"a": MASK}, classes=["vessel"], splits={"train": ["a"]}))
    assert (folder.classes, folder.background, folder.task) == (("background", "vessel"), 0, "binary")
    assert np.array_equal(folder.read_mask(folder.files["a"]), MASK)


def test_0_and_255_throughout_mean_background_and_foreground(maker):
    folder = open_dataset(maker({"a": 255 * MASK, "b": 0 * MASK}, classes=["slide", "cell"], splits=SPLITS))
    assert np.array_equal(folder.read_mask(folder.files["a"]), MASK)
    assert folder.notes == ("the masks hold {0, 255}: read as background and foreground",)


def test_255_is_ignore_in_every_mask_as_soon_as_one_holds_another_id(maker):
    folder = open_dataset(maker({"a": 255 * MASK, "b": MASK}, classes=["slide", "cell"], splits=SPLITS))
    assert np.array_equal(folder.read_mask(folder.files["a"]), 255 * MASK)
    assert folder.notes == (MIXED,)
    assert open_dataset(maker({"a": 254 * MASK + 1, "b": MASK}, classes=["slide", "cell"], splits=SPLITS)).notes == ()
    bare = maker({"a": 255 * MASK, "b": MASK})
    (bare / "dataset.yaml").unlink()
    assert open_dataset(bare).notes[-2:] == ("the masks hold class ids 0..1 and 255 to ignore", MIXED)
    named = maker({"a": 255 * MASK, "b": MASK}, classes=["slide", "cell"], ignore_index=255, splits=SPLITS)
    assert open_dataset(named).notes == ()


def test_what_masks_mean_needs_no_more_of_them_than_enough(maker):
    masks = {f"m{i:02}": MASK for i in range(17)} | {"m16": 255 * MASK}
    path = maker(masks, classes=["slide", "cell"], splits={"train": ["m00"]})
    (path / "masks/m01.png").write_bytes(b"broken, and in no split")
    folder = open_dataset(path)
    assert (folder.classes, folder.notes) == (("slide", "cell"), ())
    (path / "masks/m00.png").write_bytes(b"the first says nothing then")
    with pytest.raises(DataError, match=r"m00\.png"):
        open_dataset(path)


def test_ignore_index_and_what_lies_outside_the_roi_become_255(maker):
    mask = np.array([[0, 1, 2], [3, 1, 0]], np.uint8)
    path = maker({"a": mask}, classes=["x", "y", "z"], ignore_index=3, roi="fov", splits={"train": ["a"]})
    maker.write("fov/a.png", [[0, 1, 1], [1, 255, 1]])
    folder = open_dataset(path)
    assert folder.read_mask(folder.samples("train")[0]).tolist() == [[255, 1, 2], [255, 1, 0]]
    assert folder.ignore_index == 3


def test_colour_coded_masks_are_read_by_the_palette(maker):
    colours = np.array([[[0, 0, 0], [255, 0, 0]], [[0, 128, 255], [9, 9, 9]]], np.uint8)
    palette = {"sky": [0, 0, 0], "road": "#ff0000", "car": [0, 128, 255], "ignore": [9, 9, 9]}
    path = maker({"a": colours}, palette=palette, splits={"train": ["a"]})
    folder = open_dataset(path)
    assert folder.classes == ("sky", "road", "car")
    assert folder.palette is not None
    assert folder.palette["road"] == (255, 0, 0)
    assert folder.read_mask(folder.files["a"]).tolist() == [[0, 1], [2, 255]]
    maker.write("masks/a.png", np.full((2, 2, 3), 77, np.uint8))
    with pytest.raises(DataError, match=r"a\.png: colours #4d4d4d are not in the palette"):
        folder.read_mask(folder.files["a"])


def test_an_indexed_png_gives_its_indices_and_a_grey_mask_may_have_three_channels(maker):
    path = maker({"a": MASK, "b": np.stack([MASK] * 3, axis=2)}, classes=["x", "y"], splits=SPLITS)
    indexed = Image.fromarray(MASK, mode="P")
    indexed.putpalette([10, 20, 30, 200, 100, 50])
    indexed.save(path / "masks/a.png")
    folder = open_dataset(path)
    assert np.array_equal(folder.read_mask(folder.files["a"]), MASK)
    assert np.array_equal(folder.read_mask(folder.files["b"]), MASK)


def test_multilabel_masks_are_one_file_for_each_class(maker):
    path = maker({"a": MASK}, task="multilabel", classes=["x", "y"], roi="fov", splits={"train": ["a"]})
    maker.write("masks/a/x.png", 255 * MASK)
    maker.write("masks/a/y.png", 255 * (1 - MASK))
    maker.write("fov/a.png", [[1, 1, 1], [1, 1, 0]])
    folder = open_dataset(path)
    expected = np.stack([MASK, 1 - MASK])
    expected[:, 1, 2] = 255
    assert (folder.task, folder.background) == ("multilabel", None)
    assert np.array_equal(folder.read_mask(folder.samples("train")[0], size=(2, 3)), expected)
    (path / "masks/a/y.png").rename(path / "masks/a/z.png")
    with pytest.raises(DataError, match=r"y\.png: no such file"):
        folder.read_mask(folder.files["a"])


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "bmp"])
def test_a_class_of_a_multilabel_mask_may_be_any_lossless_file(maker, suffix):
    path = maker({"a": MASK}, task="multilabel", classes=["x", "y"], splits={"train": ["a"]})
    maker.write(f"masks/a/x.{suffix}", 255 * MASK)  # 0 and 255 in all of them: the values are looked for there too
    maker.write(f"masks/a/y.{suffix}", 255 * (1 - MASK))
    folder = open_dataset(path)
    assert np.array_equal(folder.read_mask(folder.samples("train")[0]), np.stack([MASK, 1 - MASK]))
    (path / f"masks/a/y.{suffix}").rename(path / "masks/a/x.PNG")
    with pytest.raises(DataError, match=r"x\.\w+: x\.PNG has the same name; keep one of them"):
        folder.read_mask(folder.files["a"])


def test_without_a_description_classes_come_from_the_values_and_splits_from_the_names(maker):
    path = maker({f"p{i:02d}": MASK * (i % 4) for i in range(20)})
    folder = open_dataset(path)
    assert folder.classes == ("background", "class_1", "class_2", "class_3")
    assert (folder.task, folder.background, folder.name) == ("multiclass", 0, path.name)
    assert {split: len(stems) for split, stems in folder.splits.items()} == {"train": 14, "val": 3, "test": 3}
    assert sorted(sum(folder.splits.values(), ())) == sorted(folder.files)
    assert folder.splits == open_dataset(path).splits
    assert any("no dataset.yaml" in note for note in folder.notes)
    assert any("drawn by a hash of the names (train 14, val 3, test 3)" in note for note in folder.notes)
    assert "the masks hold class ids 0..3" in folder.notes


def test_three_pictures_give_each_split_one(maker):
    folder = open_dataset(maker({"a": MASK, "b": MASK, "c": MASK}))
    assert [len(stems) for stems in folder.splits.values()] == [1, 1, 1]
    assert folder.classes == ("background", "foreground")


def test_drawn_splits_keep_groups_together(maker):
    groups = {f"patient{g}": [f"p{g}{i}" for i in range(3)] for g in range(6)}
    masks = {stem: MASK for stems in groups.values() for stem in stems}
    folder = open_dataset(maker(masks, classes=["x", "y"], groups=groups))
    for stems in groups.values():
        assert sum(bool(set(stems) & set(split)) for split in folder.splits.values()) == 1
    assert all(folder.splits.values())


def test_leaks_between_splits_are_said_aloud(maker):
    groups = {"p": ["a", "b"]}
    folder = open_dataset(
        maker({"a": MASK, "b": MASK}, classes=["x", "y"], groups=groups, splits={"train": ["a", "b"], "test": ["b"]})
    )
    assert "pictures in both 'train' and 'test': 1, for example b" in folder.notes
    assert "groups in both 'train' and 'test': 1, for example p" in folder.notes


def test_a_mask_on_the_stored_pixels_is_turned_with_its_picture(maker):
    path = maker({"a": MASK}, classes=["x", "y"], splits={"train": ["a"]})
    picture = Image.fromarray(np.zeros((2, 3, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # shown turned clockwise: 3 high, 2 wide
    picture.save(path / "images/a.png", exif=exif)
    folder = open_dataset(path)
    assert np.array_equal(folder.read_mask(folder.files["a"], size=(3, 2)), np.rot90(MASK, -1))
    assert np.array_equal(folder.read_mask(folder.files["a"]), MASK)


XY = {"classes": ["x", "y"]}
CAMERA = {"fx": 5, "fy": 5, "cx": 1, "cy": 0.5}
HERE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
RIG = {"intrinsics": CAMERA, "depth_intrinsics": CAMERA, "depth_to_colour": HERE}

BAD_DESCRIPTIONS = [
    ({"clases": ["x"]}, r"dataset\.yaml: no key 'clases'; did you mean 'classes'\?"),
    ({"name": "x"}, r"dataset\.yaml: classes: missing"),
    ({"classes": ["x", "x"]}, "classes: 'x' is there twice"),
    ({"classes": ["x", True]}, r"classes\[1\]: input should be a valid string"),
    ({"classes": ["x", "y"], "task": "multiclas"}, "task: 'multiclas' is not known; did you mean 'multiclass'"),
    (
        {"classes": ["x", "y"], "depth_unit": "cm"},
        r"depth_unit: expected mm, m, so many of them such as 0.1mm, disparity or relative \(found 'cm'\)",
    ),
    ({**XY, "depth_unit": "disparity"}, "depth_unit: disparity needs 'depth_focal_baseline', focal length in pixels"),
    (
        {**XY, "depth_unit": "mm", "depth_focal_baseline": 5},
        "depth_focal_baseline: is for disparity alone, but depth_u",
    ),
    ({**XY, "depth_focal_baseline": -5}, "depth_focal_baseline: input should be greater than 0"),
    ({**XY, "depth_invalid": [float("nan")]}, r"depth_invalid\[0\]: input should be a finite number"),
    ({**XY, "depth_invalid": 7}, r"depth_invalid: input should be a valid tuple"),
    ({**XY, "intrinsics": {"fx": 5, "fy": 5, "cx": 1}}, r"intrinsics\.cy: field required"),
    ({**XY, "intrinsics": {**CAMERA, "fz": 1}}, r"no key 'intrinsics\.fz'; there are: fx, fy, cx, cy"),
    ({**XY, "depth_intrinsics": CAMERA}, "depth_intrinsics: needs 'depth_to_colour' too"),
    ({**XY, "intrinsics": CAMERA, "depth_to_colour": HERE}, "depth_to_colour: needs 'depth_intrinsics' too"),
    ({**XY, **RIG, "depth_unit": "relative"}, "depth_to_colour: takes depth in metres, but depth_unit is relative"),
    ({**XY, **RIG, "depth_to_colour": HERE[:2]}, "depth_to_colour: tuple should have at least 3 items"),
    ({**XY, **RIG, "depth_to_colour": [[1, 0, 0, 25], *HERE[1:]]}, "depth_to_colour: the cameras would be 25 m apart"),
    ({"classes": ["x", "y", "z"], "task": "binary"}, "binary takes one or two classes, there are 3"),
    ({"classes": ["x"], "task": "multiclass"}, "multiclass takes two classes or more"),
    ({"classes": ["road", "car"], "background": "raod"}, "background: no class 'raod'; did you mean 'road'"),
    ({"classes": ["x", "y"], "background": 2}, r"background: no class 2; ids are 0\.\.1"),
    ({"classes": ["x", "y"], "palette": {"x": [0, 0, 0]}}, "palette: class 'y' has no colour"),
    ({"palette": {"x": [0, 0, 300], "y": [1, 1, 1]}}, r"palette\.x: .*expected a colour"),
    ({"palette": {"x": [0, 0, 0], "y": "#000000"}}, "two classes have the same colour"),
    ({"palette": {"x": [0, 0, 0]}}, "list the background with its colour too"),
    ({"classes": ["x", "y"], "palette": {"w": [0, 0, 0]}}, "palette: no class 'w'"),
    ({"classes": ["cell", "Background"]}, r"'Background' is the background, .* first: \[Background, cell\]"),
    ({"classes": ["cell", "slide"], "background": 1}, "'slide' is the background, so a binary task lists it first"),
    ({"palette": {"cell": "#ffffff", "slide": "#000000"}, "background": "slide"}, r"first: \[slide, cell\]"),
    ({"classes": ["x"], "task": "multilabel", "palette": {"x": [0, 0, 0]}}, "they have no palette"),
]


@pytest.mark.parametrize(("description", "message"), BAD_DESCRIPTIONS)
def test_a_wrong_description_is_explained_in_one_line(maker, description, message):
    path = maker({"a": MASK}, **description)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path)
    assert "\n" not in str(caught.value)


def test_broken_yaml_names_the_line(maker):
    path = maker({"a": MASK})
    (path / "dataset.yaml").write_text("name: x\nclasses: [a, b\nsplits: {}\n")
    with pytest.raises(DataError, match=r"dataset\.yaml: line \d: not valid YAML"):
        open_dataset(path)
    (path / "dataset.yaml").write_text("just words")
    with pytest.raises(DataError, match="expected keys like 'classes:'"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("key", "read"),
    [("no", "False"), ("on", "True"), ("null", "None"), ("2024-01-05", "2024-01-05"), ("1", "1"), ("1.5", "1.5")],
)
def test_a_key_that_yaml_does_not_read_as_text_is_told_and_the_rest_used(tmp_path, key, read):
    (tmp_path / "dataset.yaml").write_text(f"{key}: [a]\nclasses: [x, y]\nclases: [z]\n")
    description, faults = describe(tmp_path / "dataset.yaml")
    assert description.classes == ("x", "y")
    strange, unknown = faults
    assert strange.startswith(f"no key {read}, which YAML doesn't read as text; there are: name, task, classes, ")
    assert unknown == "no key 'clases'; did you mean 'classes'?"


def test_missing_folders_files_and_splits_are_named(maker, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="images: no such folder; a dataset has images/ and masks/"):
        open_dataset(tmp_path / "empty")

    splits = {"train": ["a"], "val": [], "gone": ["p", "q", "r", "s", "a"], "bare": ["c"]}
    path = maker({"a": MASK, "c": MASK}, classes=["x", "y"], splits=splits)
    (path / "masks/c.png").unlink()
    folder = open_dataset(path)
    with pytest.raises(UsageError, match=r"no split 'trian'; did you mean 'train'\?"):
        folder.samples("trian")
    with pytest.raises(DataError, match="split 'val' is empty"):
        folder.samples("val")
    with pytest.raises(DataError, match="split 'gone' lists p, q, r and 1 more without a picture in images/"):
        folder.samples("gone")
    with pytest.raises(DataError, match="split 'bare' lists c without a mask in masks/"):
        folder.samples("bare")
    with pytest.raises(DataError, match="c has no mask"):
        folder.read_mask(folder.files["c"])


def test_pairs_must_be_whole_and_unique(maker):
    path = maker({"a": MASK, "b": MASK, "c": MASK})
    (path / "masks/b.png").unlink()
    with pytest.raises(DataError, match="images/ has b without a mask"):
        open_dataset(path)
    maker.write("images/a.jpg", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"a\.png: a\.jpg has the same name; keep one of them"):
        open_dataset(path)


def test_masks_must_be_lossless(maker):
    path = maker({"a": MASK}, classes=["x", "y"])
    (path / "masks/a.png").rename(path / "masks/a.jpg")
    with pytest.raises(DataError, match=r"masks: no files of a type that is read here .*there are \.jpg"):
        open_dataset(path)


def test_a_picture_outside_the_roi_folder_is_named(maker):
    path = maker({"a": MASK, "b": MASK}, classes=["x", "y"], roi="fov", splits=SPLITS)
    maker.write("fov/a.png", MASK)
    folder = open_dataset(path)
    assert folder.samples("train")[0].roi == path / "fov/a.png"
    with pytest.raises(DataError, match="split 'val' lists b without a region of interest in fov/"):
        folder.samples("val")


def test_values_that_are_no_class_are_listed_with_the_likely_cause(maker):
    masks = {"a": [[0, 127, 255]], "b": [[0, 1, 2]], "c": [[0, 1, 1]]}
    folder = open_dataset(maker(masks, classes=["x", "y"], splits={"train": ["a", "b"]}))
    with pytest.raises(
        DataError, match=r"a\.png: mask has values \{0, 127, 255\}; classes are 0\.\.1\. It looks inter"
    ):
        folder.read_mask(folder.files["a"])
    with pytest.raises(DataError, match=r"b\.png: mask has values \{0, 1, 2\}; classes are 0\.\.1\. Add the missing"):
        folder.read_mask(folder.files["b"])


def test_a_mask_of_another_size_gives_both_sizes(maker):
    path = maker({"a": MASK}, size=(4, 5), classes=["x", "y"], splits={"train": ["a"]})
    folder = open_dataset(path)
    with pytest.raises(DataError, match=r"a\.png: mask is 3×2, its picture 5×4 \(width × height\)"):
        folder.read_mask(folder.files["a"], size=(4, 5))


def test_values_that_cannot_be_ids_need_a_description(maker):
    with pytest.raises(DataError, match=r"the masks hold the values \{0, 127, 255\}, which can't be class ids"):
        open_dataset(maker({"a": [[0, 127, 255]]}))
    smoothed = np.array([[*range(0, 254, 2), 1, 255]], np.uint8)  # 254 doesn't occur
    with pytest.raises(DataError, match=r"which can't be class ids.*export the masks again without smoothing"):
        open_dataset(maker({"b": smoothed}))


def test_empty_and_coloured_masks_need_a_description(maker, tmp_path):
    with pytest.raises(DataError, match="every mask is empty"):
        open_dataset(maker({"a": [[0, 0]]}))
    maker.write("masks/a.png", np.array([[[1, 2, 3], [0, 0, 0]]], np.uint8))
    with pytest.raises(DataError, match=r"a\.png: the mask is in colour; give each class's colour under 'palette:'"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "values", "pictures"),
    [
        ("drive", {0, 1, 255}, 40),
        ("em_isbi2012", {0, 1}, 30),
        ("dsb2018_nuclei", {0, 1}, 89),
        ("camvid_320x240", {*range(11), 255}, 701),
        ("rgbd_tools", set(range(6)), 248),
        ("rgbd_pothole", {0, 1}, 67),
    ],
)
def test_real_datasets_open_and_all_their_masks_read(shared, name, values, pictures):
    folder = open_dataset(shared / name)
    samples = folder.samples(*folder.splits)
    found = np.zeros(256, bool)
    for sample in samples:
        found[np.unique(folder.read_mask(sample))] = True
    assert len(samples) == pictures
    assert set(np.flatnonzero(found).tolist()) == values


def test_a_mask_can_be_read_as_it_is_drawn_outside_the_roi_too(maker):
    path = maker({"a": np.array([[0, 1, 1]], np.uint8)}, classes=["x", "y"], roi="fov", splits={"train": ["a"]})
    maker.write("fov/a.png", [[0, 0, 1]])
    folder = open_dataset(path)
    sample = folder.samples("train")[0]
    assert folder.read_mask(sample).tolist() == [[255, 255, 1]]
    assert folder.read_mask(sample, inside_roi=False).tolist() == [[0, 1, 1]]
    for inside, expected in ((True, [[255, 255, 1]]), (False, [[0, 1, 1]])):
        item = SegmentationDataset(folder, [sample], Reader(), crop=None, inside_roi=inside)[0, 0]
        assert item["target"].tolist() == expected


DEPTH = np.array([[1000, 0, 2000], [0, 4000, 500]], np.uint16)


def with_depth(maker, maps, **description):
    path = maker(dict.fromkeys("ab", MASK), classes=["x", "y"], splits={"train": ["a", "b"]}, **description)
    for name, values in maps.items():
        (path / "depth").mkdir(exist_ok=True)
        if name.endswith(".npy"):
            np.save(path / "depth" / name, values)
        else:
            cv2.imwrite(str(path / "depth" / name), values)
    return open_dataset(path)


def test_depth_is_read_by_what_the_description_says_and_is_zero_where_there_is_none(maker):
    folder = with_depth(maker, {"a.png": DEPTH}, depth_unit="mm", depth_invalid=[500], intrinsics=CAMERA)
    a, b = folder.samples("train")
    assert folder.depth_format == DepthFormat(unit="mm", invalid=(500,))
    assert folder.intrinsics == Intrinsics(**CAMERA)
    assert folder.depth_channels == 1
    depth = folder.read_depth(a, (2, 3))
    assert depth.dtype == np.float32
    assert depth.tolist() == [[[1, 1], [0, 0], [2, 1]], [[0, 0], [4, 1], [0, 0]]]
    absent = folder.read_depth(b, (4, 5))
    assert (absent.shape, absent.dtype, absent.any()) == ((4, 5, 2), np.float32, False)


def test_an_array_is_depth_too_and_disparity_becomes_metres(maker):
    folder = with_depth(maker, {"a.npy": DEPTH}, depth_unit="disparity", depth_focal_baseline=2000)
    a, _ = folder.samples("train")
    assert folder.read_depth(a, (2, 3))[..., 0].tolist() == [[2, 0, 1], [0, 0.5, 4]]


def test_a_dataset_without_depth_has_none_to_describe(maker):
    folder = with_depth(maker, {})
    assert (folder.depth_format, folder.alignment, folder.depth_channels) == (None, None, 1)
    assert not folder.read_depth(folder.samples("train")[0], (2, 3)).any()


def test_depth_without_a_unit_names_the_key_to_add(maker):
    folder = with_depth(maker, {"a.png": DEPTH})
    for sample in folder.samples("train"):
        with pytest.raises(
            DataError, match=r"dataset\.yaml: nothing says what the values in depth/ mean; add 'depth_unit:'"
        ):
            folder.read_depth(sample, (2, 3))


def test_maps_of_another_modality_have_the_same_number_of_channels(maker):
    folder = with_depth(maker, {"a.npy": np.ones((2, 3, 2)), "b.npy": np.ones((2, 3, 4))}, depth_unit="relative")
    a, b = folder.samples("train")
    assert folder.depth_channels == 2
    assert folder.read_depth(a, (2, 3)).shape == (2, 3, 3)
    for read in (lambda: folder.read_depth(b, (2, 3)), lambda: depth_statistics([a, b], folder)):
        with pytest.raises(DataError, match=r"b\.npy: 4 channels, .*a\.npy has 2; export all alike"):
            read()


def test_depth_of_another_size_gives_both_sizes_and_what_to_do(maker):
    folder = with_depth(maker, {"a.png": DEPTH[:, :2]}, depth_unit="mm")
    with pytest.raises(
        DataError, match=r"a\.png: depth is 2×2, its picture 3×2 \(width × height\); export it pixel for"
    ):
        folder.read_depth(folder.samples("train")[0], (2, 3))


def test_depth_on_the_stored_pixels_is_turned_with_its_picture(maker):
    folder = with_depth(maker, {"a.png": DEPTH}, depth_unit="mm")
    picture = Image.fromarray(np.zeros((2, 3, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # shown turned clockwise: 3 high, 2 wide
    picture.save(folder.path / "images/a.png", exif=exif)
    a, _ = folder.samples("train")
    assert np.array_equal(folder.read_depth(a, (3, 2)), np.rot90(folder.read_depth(a, (2, 3)), -1))


def test_depth_of_another_camera_is_brought_to_the_picture(maker):
    moved = [[1, 0, 0, 0.2], *HERE[1:]]  # one pixel to the right at 1 m
    wide = np.full((2, 4), 1000, np.uint16)
    folder = with_depth(maker, {"a.png": wide}, depth_unit="mm", **{**RIG, "depth_to_colour": moved})
    assert folder.alignment is not None
    depth = folder.read_depth(folder.samples("train")[0], (2, 3))
    assert depth[..., 1].tolist() == [[0, 1, 1], [0, 1, 1]]
    assert depth[..., 0].tolist() == [[0, 1, 1], [0, 1, 1]]


def test_files_lossy_or_of_other_types_are_no_depth(maker):
    with pytest.raises(
        DataError, match=r"depth: no files of a type .*there are \.jpg, which blur depth: export it again$"
    ):
        with_depth(maker, {"a.jpg": DEPTH.astype(np.uint8)}, depth_unit="mm")


def test_groups_of_names_that_are_nowhere_are_told(maker):
    path = maker({"a": MASK, "b": MASK}, classes=["x", "y"], splits=SPLITS, groups={"p": ["a", "elsewhere"]})
    assert open_dataset(path).notes == ("groups in dataset.yaml: 1 names without a picture, for example elsewhere",)


def test_names_of_numbers_are_as_written(maker):
    path = maker({"0010": MASK, "1_2": MASK}, classes=["x", "y"], splits={"train": ["0010"]})
    text = "classes: [x, y]\nsplits: {train: [0010], test: [1_2]}\ngroups: {7: [0010], 08: [1_2]}\n"
    (path / "dataset.yaml").write_text(text)
    folder = open_dataset(path)
    assert folder.splits == {"train": ("0010",), "test": ("1_2",)}
    assert folder.groups == {"7": ("0010",), "08": ("1_2",)}


def test_without_masks_nothing_is_said_of_classes(maker):
    path = maker({"a": MASK, "b": MASK}, classes=["x", "y"], background="x", splits=SPLITS)
    for file in (path / "masks").iterdir():
        file.unlink()
    (path / "masks").rmdir()
    folder = open_dataset(path, masks=False)
    assert (folder.classes, folder.splits) == ((), {"train": ("a",), "val": ("b",)})
    assert all(sample.mask is None for sample in folder.files.values())
    with pytest.raises(DataError, match="masks: no such folder"):
        open_dataset(path)


def test_a_folder_that_may_not_be_read_is_named(maker, monkeypatch):
    path = maker({"a": MASK}, classes=["x", "y"], splits={"train": ["a"]})

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "iterdir", refuse)
    with pytest.raises(DataError, match=r"images: can't be read \(Permission denied\)"):
        open_dataset(path)


@pytest.mark.parametrize("roi", ["", ".", "../fov", "/fov", "fov/../.."])
def test_a_region_s_folder_lies_in_the_dataset(maker, roi):
    path = maker({"a": MASK, "b": MASK}, classes=["x", "y"], roi=roi, splits=SPLITS)
    with pytest.raises(DataError, match="roi: expected the name of a folder in the dataset's"):
        open_dataset(path)


def test_a_picture_is_in_one_group(maker):
    groups = {"p": ["a", "b"], "q": ["a"]}
    path = maker({"a": MASK, "b": MASK}, classes=["x", "y"], splits=SPLITS, groups=groups)
    with pytest.raises(DataError, match=r"groups: the picture a is in p and in q, and may be in one group: join"):
        open_dataset(path)


def test_what_yaml_repeats_is_shown_as_little_as_it_takes(maker):
    path = maker({"a": MASK, "b": MASK}, classes=["x", "y"], splits=SPLITS)
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    (path / "dataset.yaml").write_text("classes:\n" + "\n".join(lines))
    assert all(len(fault) < 200 for fault in describe(path / "dataset.yaml")[1])
