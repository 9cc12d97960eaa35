"""COCO's JSON: outlines of every form drawn pixel by pixel, what overlaps, what is ignored, where pictures are."""

import json

import cv2
import numpy as np
import pytest
from importing.layouts import contents, picture, write_json, write_png
from PIL import Image

import segkit
from segkit.data.description import read_description
from segkit.errors import DataError
from segkit.importing.run import import_dataset

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]  # ids with gaps, out of order
SIZE = {"height": 12, "width": 16}


def box(left, top, right, bottom):
    """A polygon around whole pixels."""
    return [left, top, right, top, right, bottom, left, bottom]


def instances(path, pictures, objects=(), categories=CATEGORIES, **changes):
    """Write a JSON: ``pictures`` are file names, an object is (picture, category, keys of the annotation)."""
    said = {
        "info": {"year": 2020},
        "images": [{"id": 100 + n, "file_name": name, **SIZE} for n, name in enumerate(pictures)],
        "annotations": [
            {"id": number, "image_id": 100 + n, "category_id": category, **keys}
            for number, (n, category, keys) in enumerate(objects)
        ],
        "categories": list(categories),
    }
    return write_json(path, said | changes)


def mask(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def painted(*patches):
    """A mask with some rectangles (left, top, right, bottom, value) painted one after the other."""
    found = np.zeros((12, 16), dtype=np.uint8)
    for left, top, right, bottom, value in patches:
        found[top:bottom, left:right] = value
    return found


def rle(inside):
    """Uncompressed run lengths, down the columns."""
    flat = np.concatenate([[False], np.asarray(inside, dtype=bool).T.ravel()])
    edges = np.flatnonzero(np.diff(flat.astype(int)))
    return {"size": list(inside.shape), "counts": np.diff([0, *edges, inside.size]).tolist()}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


NAMES = [f"p{number}.jpg" for number in range(6)]
SHAPES = [  # picture 0 … 5; category 3 is the class 1, category 7 the class 2
    (0, 3, {"segmentation": [box(2, 1, 6, 5)]}),
    (0, 7, {"segmentation": [box(8, 4, 12, 11), box(13, 0, 15, 2)]}),
    (1, 7, {"segmentation": rle(painted((3, 3, 9, 7, 1)))}),
    (2, 3, {"segmentation": {"size": [12, 16], "counts": "a1:20000000c2"}}),
    (3, 3, {"segmentation": [box(0, 0, 10, 10)]}),
    (3, 7, {"segmentation": [box(2, 2, 5, 5)]}),  # in the larger one
    (4, 7, {"segmentation": [box(2, 2, 5, 5)]}),
    (4, 3, {"segmentation": [box(0, 0, 10, 10)]}),  # around the smaller one, and listed after it
    (4, 7, {"segmentation": rle(painted((8, 8, 16, 12, 1))), "iscrowd": 1}),
]
EXPECTED = [
    painted((2, 1, 6, 5, 1), (8, 4, 12, 11, 2), (13, 0, 15, 2, 2)),
    painted((3, 3, 9, 7, 2)),
    painted((4, 1, 9, 11, 1)),
    painted((0, 0, 10, 10, 1), (2, 2, 5, 5, 2)),
    painted((8, 8, 16, 12, 255), (0, 0, 10, 10, 1), (2, 2, 5, 5, 2)),
    painted(),
]


@pytest.fixture
def source(tmp_path):
    """Six pictures in which the classes can be seen; the JSON is the test's."""
    for number, drawn in enumerate(EXPECTED):
        bright = 80 * np.where(drawn == 255, 0, drawn)[..., None]
        write_png(tmp_path / f"pets/images/p{number}.jpg", bright + picture(seed=number) // 8)
    return tmp_path / "pets"


def test_every_form_of_outline(source, out):
    instances(source / "annotations.json", NAMES, SHAPES)
    before = contents(source)
    report = import_dataset(source, out)
    assert contents(source) == before
    assert (report.kind, report.name, report.task, report.cases) == ("coco", "pets", "multiclass", 6)
    assert report.classes == ("background", "cat", "dog")
    for number, expected in enumerate(EXPECTED):
        assert (mask(out / f"masks/p{number}.png") == expected).all()
        assert (out / f"images/p{number}.jpg").read_bytes() == before[f"images/p{number}.jpg"]
    assert read_description(out / "dataset.yaml").ignore_index == 255
    folder = segkit.open_dataset(out)
    assert (folder.read_mask(folder.files["p4"]) == EXPECTED[4]).all()
    assert report.notes == (
        "categories got ids in the order of theirs",
        "crowds, ignored where no single object is drawn: 1",
        "pictures without an object: 1",
        "the source has no splits: they are drawn by a hash of the names when the dataset is opened",
    )
    assert [(group.what, group.names) for group in report.warnings] == [
        ("objects of different classes overlap: the smaller is on top (multilabel keeps both)", ("p3", "p4"))
    ]
    checked = segkit.check(out)
    assert not checked.errors + checked.warnings


def test_multilabel_keeps_what_classes_have_in_common(source, out):
    instances(source / "annotations.json", NAMES, SHAPES)
    report = import_dataset(source, out, multilabel=True)
    assert (report.task, report.classes, report.warnings) == ("multilabel", ("cat", "dog"), ())
    assert (mask(out / "masks/p4/cat.png") == painted((0, 0, 10, 10, 1))).all()
    assert (mask(out / "masks/p4/dog.png") == painted((8, 8, 16, 12, 255), (2, 2, 5, 5, 1))).all()
    folder = segkit.open_dataset(out)
    assert folder.background is None
    assert (folder.read_mask(folder.files["p3"])[0] == painted((0, 0, 10, 10, 1))).all()
    checked = segkit.check(out)
    assert not checked.errors + checked.warnings


def test_one_category_is_a_foreground_even_where_nothing_but_crowds_are_drawn(source, out):
    objects = [(n, 3, {"segmentation": rle(painted((1, 1, 5, 5, 1))), "iscrowd": 1}) for n in range(6)]
    instances(source / "annotations.json", NAMES, objects, CATEGORIES[1:])
    report = import_dataset(source, out)
    assert (report.task, report.classes) == ("binary", ("background", "cat"))
    folder = segkit.open_dataset(out)
    assert (folder.read_mask(folder.files["p0"]) == painted((1, 1, 5, 5, 255))).all()  # and not foreground


def test_a_box_without_an_outline_is_ignored(source, out):
    objects = [
        (0, 3, {"bbox": [2, 2, 4, 3], "segmentation": []}),
        (0, 3, {"segmentation": [box(5, 4, 8, 8)]}),
        (1, 7, {"bbox": [0, 0, 2, 2]}),
        (2, 7, {}),
        (3, 7, {"segmentation": [[1, 1, 9, 9]]}),
        (4, 7, {"bbox": [1, 1, 8, 8], "segmentation": [[1, 1, 9, 9], []]}),
    ]
    instances(source / "annotations.json", NAMES, objects)
    report = import_dataset(source, out)
    assert (mask(out / "masks/p0.png") == painted((2, 2, 6, 5, 255), (5, 4, 8, 8, 1))).all()
    assert (mask(out / "masks/p1.png") == painted((0, 0, 2, 2, 255))).all()
    assert not mask(out / "masks/p2.png").any()
    assert not mask(out / "masks/p3.png").any()
    assert (mask(out / "masks/p4.png") == painted((1, 1, 9, 9, 255))).all()
    assert set(report.notes) >= {
        "objects with a box and no outline, whose box is ignored: 3",
        "objects without an outline: 2",
    }


def test_categories_of_one_name_are_one_class_and_a_background_is_the_background(source, out):
    names = [(0, "pets"), (1, "cat"), (2, "Background"), (3, "cat")]
    categories = [{"id": number, "name": name, "supercategory": "none"} for number, name in names]
    objects = [
        (0, 1, {"segmentation": [box(0, 0, 4, 4)]}),
        (0, 3, {"segmentation": [box(6, 0, 8, 4)]}),
        (0, 2, {"segmentation": [box(1, 1, 3, 3)]}),
    ]
    instances(source / "annotations.json", NAMES, objects, categories)
    report = import_dataset(source, out)
    assert report.classes == ("background", "pets", "cat")
    assert (mask(out / "masks/p0.png") == painted((0, 0, 4, 4, 2), (6, 0, 8, 4, 2), (1, 1, 3, 3, 0))).all()
    assert report.notes[:3] == (
        "categories got ids in the order of theirs",
        "categories of the same name are one class: cat",
        "classes without any object: pets",
    )


def test_train_and_val_by_the_names_of_the_jsons_and_others_left_out(tmp_path, out):
    root = tmp_path / "coco"
    for year in ("train2017", "val2017"):
        for number in range(3):
            write_png(root / year / f"{year[:2]}_{number}.jpg", picture(seed=number))
    write_png(root / "val2017" / "extra.jpg", picture(seed=9))
    for split, prefix in (("train2017", "tr"), ("val2017", "va")):
        names = [f"{prefix}_{number}.jpg" for number in range(3)]
        objects = [(n, 3, {"segmentation": [box(n, 0, n + 4, 6)]}) for n in range(3)]
        instances(root / f"annotations/instances_{split}.json", names, objects)
        instances(root / f"annotations/person_keypoints_{split}.json", names, objects, [{"id": 3, "name": "person"}])
        write_json(root / f"annotations/captions_{split}.json", {"images": [], "annotations": []})
    report = import_dataset(root, out)
    assert segkit.open_dataset(out).splits == {"train": ("tr_0", "tr_1", "tr_2"), "val": ("va_0", "va_1", "va_2")}
    assert [(group.what, group.names) for group in report.left_out] == [
        ("pictures that no JSON lists", ("val2017/extra.jpg",)),
        ("JSONs beside those called instances…", ("person_keypoints_train2017.json", "person_keypoints_val2017.json")),
    ]
    report = import_dataset(root / "annotations/instances_val2017.json", tmp_path / "only")
    assert (report.name, report.splits, report.cases) == ("coco", {"val": 3}, 3)


def test_a_json_in_the_folder_of_its_pictures(tmp_path, out):
    """As Roboflow exports it; the same names in another split are other pictures."""
    for split, word in (("train", "train"), ("valid", "val"), ("test", "test")):
        for number in range(2):
            write_png(tmp_path / f"export/{split}/{word}{number}.png", picture(seed=number))
        objects = [(0, 3, {"segmentation": [box(0, 0, 4, 6)]})]
        instances(tmp_path / f"export/{split}/_annotations.coco.json", [f"{word}0.png", f"{word}1.png"], objects)
    import_dataset(tmp_path / "export", out)
    expected = {split: (f"{split}0", f"{split}1") for split in ("train", "val", "test")}
    assert segkit.open_dataset(out).splits == expected


def test_of_several_pictures_that_could_be_meant_it_is_that_of_the_split(tmp_path, out):
    root = tmp_path / "a"
    for folder, seed in (("images/train", 1), ("images/val", 2), ("thumbnails", 3)):
        write_png(root / folder / "x.png", picture(seed=seed))
    instances(root / "annotations/val.json", ["x.png"], [(0, 3, {"segmentation": [box(0, 0, 4, 6)]})])
    import_dataset(root, out)
    assert (out / "images/x.png").read_bytes() == (root / "images/val/x.png").read_bytes()
    (root / "annotations/val.json").rename(root / "annotations/all.json")
    with pytest.raises(DataError, match=r"all.json: 'x.png' could be .*/x.png and .*/x.png; name it by its place in"):
        import_dataset(root, tmp_path / "again")
    instances(root / "annotations/all.json", ["train/x.png"], [(0, 3, {"segmentation": [box(0, 0, 4, 6)]})])
    import_dataset(root, tmp_path / "again")
    assert (tmp_path / "again/images/x.png").read_bytes() == (root / "images/train/x.png").read_bytes()


@pytest.mark.parametrize("size", [(12, 16), (16, 12)], ids=["as shown", "as stored"])
def test_a_picture_that_is_turned_by_its_tag(size, tmp_path, out):
    """The camera stored 16 × 12 (height × width) with the tag that shows it as 12 × 16."""
    stored = np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    tag = Image.Exif()
    tag[0x0112] = 6
    (tmp_path / "a").mkdir()
    for number in range(3):
        Image.fromarray(stored).save(tmp_path / f"a/x{number}.jpg", exif=tag)
    said = [{"id": 100 + n, "file_name": f"x{n}.jpg", "height": size[0], "width": size[1]} for n in range(3)]
    objects = [(n, 3, {"segmentation": [box(0, 0, 3, 2)]}) for n in range(3)]
    instances(tmp_path / "a/a.json", [], objects, images=said)
    report = import_dataset(tmp_path / "a", out)
    assert report.warnings == ()
    folder = segkit.open_dataset(out)
    drawn = np.zeros(size, dtype=np.uint8)
    drawn[:2, :3] = 1
    shown = drawn if size == (12, 16) else np.rot90(drawn, -1)
    assert (folder.read_mask(folder.files["x0"], (12, 16)) == shown).all()


def test_a_picture_whose_size_the_json_does_not_say(source, out):
    said = [{"id": 100 + n, "file_name": name} for n, name in enumerate(NAMES)]
    instances(source / "a.json", [], SHAPES, images=said)
    import_dataset(source, out)
    assert (mask(out / "masks/p0.png") == EXPECTED[0]).all()


SQUARE = [(0, 3, {"segmentation": [box(0, 0, 4, 6)]})]


def spoil(source, how):
    """One fault."""
    path = instances(source / "annotations/instances_train.json", NAMES, SHAPES)
    said = json.loads(path.read_text())
    match how:
        case "odd":
            said["annotations"][3]["segmentation"] = [[1, 1, 5, 1, 5]]
        case "nan":
            path.write_text(path.read_text().replace("[2, 1, 6, 1,", "[2, NaN, 6, 1,"))
            return
        case "huge":
            said["annotations"][0]["segmentation"] = [[0, 0, 1e12, 0, 1e12, 1e12]]
        case "flat":
            said["annotations"][0]["segmentation"] = [0, 0, 4, 0, 4, 4]
        case "run lengths":
            said["annotations"][2]["segmentation"]["counts"][0] += 1
        case "run lengths elsewhere":
            said["annotations"][2]["segmentation"]["size"] = [16, 12]
        case "compressed":
            said["annotations"][3]["segmentation"]["counts"] = "~"
        case "box":
            said["annotations"][0] |= {"segmentation": [], "bbox": [1, 2, 3]}
        case "size":
            said["images"][1]["height"] = 24
        case "category":
            said["annotations"][1]["category_id"] = 8
        case "no category":
            said["categories"] = []
        case "category without a name":
            del said["categories"][0]["name"]
        case "outside":
            said["images"][2]["file_name"] = "../secret.jpg"
        case "missing":
            (source / "images/p2.jpg").unlink()
        case "two missing":
            (source / "images/p2.jpg").unlink()
            (source / "images/p4.jpg").unlink()
        case "twice":
            said["images"][2]["file_name"] = "p1.jpg"
        case "in two":
            instances(source / "annotations/instances_val.json", NAMES[2:3], SQUARE)
        case "same stem":
            write_png(source / "more/p1.png", picture())
            said["images"][2]["file_name"] = "more/p1.png"
        case "other names":
            write_png(source / "more/q.png", picture())
            instances(source / "annotations/instances_val.json", ["q.png"], SQUARE, [{"id": 3, "name": "horse"}])
        case "no picture":
            (source / "images/p0.jpg").write_bytes(b"not a picture")
        case "many classes":
            said["categories"] = [{"id": number, "name": f"c{number}"} for number in range(300)]
        case "syntax":
            path.write_text(path.read_text()[:-40])
            return
    write_json(path, said)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "odd",
            r"instances_train.json: annotation 3 of p2.jpg: a polygon has 5 coordinates; expected pairs of x and y",
        ),
        ("nan", r"annotations\[0\].segmentation.*: input should be a finite number"),
        ("huge", r"annotations\[0\].segmentation.*: input should be less than or equal to 1000000000"),
        ("flat", r"annotations\[0\].segmentation.*: input should be a valid"),
        ("run lengths", r"annotation 2 of p1.jpg: run lengths of 193 pixels; the picture has 192"),
        ("run lengths elsewhere", r"annotation 2 of p1.jpg: its run lengths are of a picture of 12×16"),
        ("compressed", r"annotation 3 of p2.jpg: compressed run lengths hold '~'"),
        ("box", r"annotation 0 of p0.jpg: its box has 3 numbers; expected x, y, width and height"),
        (
            "size",
            r"images/p1.jpg: the picture is 16×12, in instances_train.json 16×24; outlines would lie elsewhere: use",
        ),
        ("category", r"annotation 1 has category 8, which isn't among 'categories'; add it there"),
        ("no category", r"categories: list should have at least 1 item"),
        ("category without a name", r"categories\[0\].name: missing"),
        ("outside", r"names '../secret.jpg', which leads out of its folder"),
        ("missing", r"pets/p2.jpg: no such file; 1 of 6 cases lack files: get them, or leave these out with --partial"),
        ("two missing", r"pets/p2.jpg: no such file; 2 of 6 cases lack files: get them, or leave"),
        ("twice", r"instances_train.json: lists 'p1.jpg' twice; keep one of them"),
        ("in two", r"instances_val.json: lists 'p2.jpg' as does .*instances_train.json; name one JSON as the source"),
        ("same stem", r"more/p1.png: .*images/p1.jpg has the same name; rename one of them"),
        ("other names", r"instances_val.json: category 3 is 'horse', in another JSON 'cat'; import them one by one"),
        ("no picture", r"images/p0.jpg: it is no PNG, JPEG, TIFF, BMP or WebP file, or damaged; export it again"),
        ("many classes", r"pets: classes: tuple should have at most 254 items"),
        ("syntax", r"instances_train.json: not valid JSON: EOF while parsing .* at line 1 column \d+"),
    ],
)
def test_each_fault_is_one_line_that_names_it(how, message, source, out):
    spoil(source, how)
    with pytest.raises(DataError, match=message) as caught:
        import_dataset(source, out, "coco")
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_a_class_that_is_no_file_name_is_refused_for_multilabel_alone(source, out):
    instances(source / "a.json", NAMES, SHAPES, [{"id": 3, "name": "cat/kitten"}, {"id": 7, "name": "dog"}])
    with pytest.raises(
        DataError, match="class 'cat/kitten' can't be the name of a file, as masks of several labels are"
    ):
        import_dataset(source, out, multilabel=True)
    assert import_dataset(source, out).classes == ("background", "cat/kitten", "dog")


def test_annotations_of_pictures_that_are_not_listed_are_counted(source, out):
    instances(source / "a.json", NAMES[:5], [*SHAPES, (9, 3, {"segmentation": [box(0, 0, 2, 2)]})])
    report = import_dataset(source, out)
    assert "annotations of pictures that aren't listed are left out: 1" in report.notes
    assert [(group.what, group.names) for group in report.left_out] == [
        ("pictures that no JSON lists", ("images/p5.jpg",))
    ]


def test_with_partial_what_cannot_be_used_is_left_out_and_said(source, out):
    spoil(source, "two missing")
    (source / "images/p0.jpg").write_bytes(b"not a picture")
    report = import_dataset(source, out, partial=True)
    assert report.cases == 3
    assert [(group.what, len(group.names)) for group in report.left_out] == [
        ("cases with files that aren't there", 2),
        ("cases that can't be used", 1),
    ]
    assert "p0.jpg: it is no PNG" in report.left_out[1].names[0]
    assert sorted(contents(out)) == [
        "dataset.yaml",
        *(f"{a}/p{n}.{b}" for a, b in (("images", "jpg"), ("masks", "png")) for n in (1, 3, 5)),
    ]
