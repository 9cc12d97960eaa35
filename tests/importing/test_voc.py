"""VOC's folders: masks by index or by colour, the lists of splits, CVAT's labels."""

import cv2
import numpy as np
import pytest
from importing.layouts import contents, ids, picture, write_png
from PIL import Image

import segkit
from segkit.errors import DataError
from segkit.importing.run import import_dataset
from segkit.importing.voc import CLASSES

LABELMAP = "# label:color_rgb:parts:actions\ncell:255,0,55::\nbackground:0,0,0::\ndebris:0,128,7:a,b:c\n"
COLOURS = {"background": (0, 0, 0), "cell": (255, 0, 55), "debris": (0, 128, 7)}
COLOUR_OF = np.array(list(COLOURS.values()), dtype=np.uint8)


def voc_colours():
    """VOC's colour map as its own devkit computes it, id by id."""
    colours = []
    for number in range(256):
        red = green = blue = 0
        for bit in range(8):
            red |= (number >> 0 & 1) << (7 - bit)
            green |= (number >> 1 & 1) << (7 - bit)
            blue |= (number >> 2 & 1) << (7 - bit)
            number >>= 3
        colours.append((red, green, blue))
    return np.array(colours, dtype=np.uint8)


def indexed(path, values, colours):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, dtype=np.uint8), mode="P")
    image.putpalette(np.asarray(colours, dtype=np.uint8).tobytes())
    image.save(path)


def voc(folder, write, *, count=6, lists=None):
    """Pictures 0 … count - 1; ``write(path, number)`` draws a mask."""
    for number in range(count):
        write_png(folder / f"JPEGImages/2007_{number}.jpg", picture(seed=number))
        path = folder / f"SegmentationClass/2007_{number}.png"
        path.parent.mkdir(exist_ok=True)
        write(path, number)
    for name, numbers in (lists or {}).items():
        path = folder / f"ImageSets/Segmentation/{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"2007_{number}\n" for number in numbers))
    return folder


def drawn(number):
    """VOC's ids, and the void between things."""
    found = ids(classes=21, height=14, width=22, seed=number)
    found[5] = 255
    return found


@pytest.fixture
def original(tmp_path):
    """As VOC publishes it: more pictures than masks, indexed masks, lists."""
    lists = {"train": (0, 1, 2), "val": (3, 4), "trainval": (0, 1, 2, 3, 4), "test": (5, 6)}
    source = voc(tmp_path / "VOC2012", lambda path, number: indexed(path, drawn(number), voc_colours()), lists=lists)
    write_png(source / "JPEGImages/2007_6.jpg", picture(seed=6))
    write_png(source / "JPEGImages/2007_7.jpg", picture(seed=7))
    for number in range(6):
        write_png(source / f"JPEGImages/2007_{number}.jpg", picture(14, 22, seed=number))
    return source


def test_vocs_own(original, tmp_path):
    before = contents(original)
    report = import_dataset(original, tmp_path / "out")
    assert contents(original) == before
    assert (report.kind, report.name, report.task, report.cases) == ("voc", "VOC2012", "multiclass", 6)
    assert report.classes == CLASSES
    assert (len(CLASSES), CLASSES[0], CLASSES[15], CLASSES[20]) == (21, "background", "person", "tvmonitor")
    assert report.splits == {"train": 3, "val": 2, "test": 1}
    assert [(group.what, group.names) for group in report.left_out] == [
        ("pictures without a mask", ("2007_6", "2007_7"))
    ]
    for name, place in (
        ("images/2007_3.jpg", "JPEGImages/2007_3.jpg"),
        ("masks/2007_3.png", "SegmentationClass/2007_3.png"),
    ):
        assert (tmp_path / "out" / name).read_bytes() == before[place]
    folder = segkit.open_dataset(tmp_path / "out")
    assert folder.splits == {"train": ("2007_0", "2007_1", "2007_2"), "val": ("2007_3", "2007_4"), "test": ("2007_5",)}
    assert (folder.read_mask(folder.files["2007_4"]) == drawn(4)).all()
    checked = segkit.check(tmp_path / "out")
    assert not checked.errors + checked.warnings


def test_vocs_own_as_rgb(tmp_path):
    colours = voc_colours()
    colours[255] = (224, 224, 192)
    source = voc(tmp_path / "a", lambda path, number: write_png(path, colours[drawn(number)]))
    report = import_dataset(source, tmp_path / "out")
    assert report.notes[0] == "there is no labelmap.txt: colours are those of VOC's 21 classes"
    folder = segkit.open_dataset(tmp_path / "out")
    assert folder.classes == CLASSES
    assert (folder.read_mask(folder.files["2007_2"]) == drawn(2)).all()


@pytest.mark.parametrize("kind", ["rgb", "indexed"])
def test_cvats_labels_are_colours_whatever_the_indices(kind, tmp_path):
    def write(path, number):
        values = ids(seed=number)
        if kind == "rgb":
            write_png(path, COLOUR_OF[values])
        else:
            indexed(path, 2 - values, COLOUR_OF[::-1])

    source = voc(tmp_path / "cvat", write, lists={"default": range(6)})
    (source / "labelmap.txt").write_text(LABELMAP)
    report = import_dataset(source, tmp_path / "out")
    assert report.classes == ("background", "cell", "debris")
    assert report.splits == {}
    folder = segkit.open_dataset(tmp_path / "out")
    assert folder.palette == {**COLOURS, "ignore": (224, 224, 192)}
    assert folder.background == 0
    for number in range(6):
        assert (folder.read_mask(folder.files[f"2007_{number}"]) == ids(seed=number)).all()
    assert "unknown_ids" not in [one.kind for one in segkit.check(tmp_path / "out").findings]


def test_what_cvat_wrote_is_a_clean_dataset(tmp_path):
    source = voc(tmp_path / "cvat", lambda path, number: write_png(path, COLOUR_OF[ids(seed=number)]))
    (source / "labelmap.txt").write_text(LABELMAP)
    import_dataset(source, tmp_path / "out")
    checked = segkit.check(tmp_path / "out")
    assert not checked.errors + checked.warnings


@pytest.mark.parametrize(
    ("labelmap", "palette"),
    [
        ("a:1,2,3::\n", {"background": (0, 0, 0), "a": (1, 2, 3), "ignore": (224, 224, 192)}),
        ("Background:9,9,9::\na:1,2,3::\n", {"Background": (9, 9, 9), "a": (1, 2, 3), "ignore": (224, 224, 192)}),
        ("\ufeffa: b:1,2,3\nvoid:5,5,5::\n", {"background": (0, 0, 0), "a: b": (1, 2, 3), "ignore": (5, 5, 5)}),
        ("a:0,0,0::\nb:224,224,192::\n", {"a": (0, 0, 0), "b": (224, 224, 192)}),
    ],
)
def test_what_a_labelmap_means(labelmap, palette, tmp_path):
    colours = np.array([palette[name] for name in palette if name != "ignore"], dtype=np.uint8)
    source = voc(tmp_path / "a", lambda path, number: write_png(path, colours[ids(classes=2, seed=number)]))
    (source / "labelmap.txt").write_text(labelmap, encoding="utf-8")
    import_dataset(source, tmp_path / "out")
    folder = segkit.open_dataset(tmp_path / "out")
    assert folder.palette == palette
    assert list(folder.classes) == [name for name in palette if name != "ignore"]


@pytest.mark.parametrize(
    ("labelmap", "message"),
    [
        ("cell:255,0,55::\ndebris\n", r"labelmap.txt: line 2: expected 'name:red,green,blue::', found 'debris'"),
        ("cell:256,0,55::\n", r"labelmap.txt: line 1: expected 'name:red,green,blue::', found 'cell:256,0,55::'"),
        ("cell:255,0,55::\n\ncell:1,2,3::\n", r"labelmap.txt: line 3: 'cell' is there twice"),
        ("cell:255,0,55::\nother:255,0,55::\n", r"palette: two classes have the same colour"),
        ("cell:255,0,55::\n", r"SegmentationClass/2007_0.png: colours #008007 are not in the palette"),
        (b"\xff\xfe", r"labelmap.txt: not a readable text file"),
    ],
)
def test_a_wrong_labelmap_is_one_line(labelmap, message, tmp_path):
    source = voc(tmp_path / "a", lambda path, number: write_png(path, COLOUR_OF[ids(seed=number)]), count=2)
    path = source / "labelmap.txt"
    path.write_bytes(labelmap if isinstance(labelmap, bytes) else labelmap.encode())
    with pytest.raises(DataError, match=message):
        import_dataset(source, tmp_path / "out")


def test_values_beyond_vocs_are_refused(original, tmp_path):
    indexed(original / "SegmentationClass/2007_1.png", np.full((14, 22), 21), voc_colours())
    with pytest.raises(
        DataError,
        match=r"2007_1.png: mask has values \{21\}; classes without a labelmap.txt: \{0, 1, 2, 3, 4, …, 20, 255\}",
    ):
        import_dataset(original, tmp_path / "out")


def test_a_listed_picture_without_a_mask_is_refused_unless_it_is_for_testing(original, tmp_path):
    (original / "SegmentationClass/2007_3.png").unlink()
    with pytest.raises(
        DataError, match=r"SegmentationClass/2007_3.png: no such file; 1 of 6 cases lack files: get them, or"
    ):
        import_dataset(original, tmp_path / "out")
    report = import_dataset(original, tmp_path / "out", partial=True)
    assert [(group.what, group.names) for group in report.left_out][1:] == [
        ("cases with files that aren't there", ("2007_3",))
    ]
    assert segkit.open_dataset(tmp_path / "out").splits["val"] == ("2007_4",)


def test_lists_may_quote_names_and_hold_other_lists_places(tmp_path):
    source = voc(tmp_path / "a", lambda path, number: cv2.imwrite(str(path), ids(seed=number)))
    folder = source / "ImageSets/Segmentation"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text('"2007_0"\n2007_1 \n\nsubset/2007_2\n')
    (folder / "val.txt").write_text("2007_3\n")
    import_dataset(source, tmp_path / "out")
    assert segkit.open_dataset(tmp_path / "out").splits == {"train": ("2007_0", "2007_1", "2007_2"), "val": ("2007_3",)}
    (folder / "val.txt").write_text("../2007_3\n")
    with pytest.raises(DataError, match=r"val.txt: names '../2007_3', which leads out of its folder"):
        import_dataset(source, tmp_path / "again")
    (folder / "val.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"val.txt: not a readable text file"):
        import_dataset(source, tmp_path / "again")


def test_two_pictures_of_one_name_are_refused(original, tmp_path):
    write_png(original / "JPEGImages/2007_1.png", picture())
    with pytest.raises(DataError, match=r"2007_1.png: 2007_1.jpg has the same name; keep one of them"):
        import_dataset(original, tmp_path / "out")
