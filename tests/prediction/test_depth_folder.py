"""Many pictures with their depth beside them: paired by stem, missing ones counted, done again where one changed."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import segkit
from segkit.cli.main import main
from segkit.data.depth_format import DepthFormat
from segkit.errors import DataError, UsageError
from segkit.model import Segmenter
from segkit.prediction.depth import Measured
from segkit.prediction.depth_folder import DepthFolder
from segkit.prediction.depth_picture import CHANGED, GAP, draw_depth, draw_depth_and_change
from segkit.prediction.sources import Source


@pytest.fixture
def model():
    torch.manual_seed(0)
    stem = {"name": "stem", "width": 4, "depth": 2}
    model = Segmenter.create(
        stem, classes=2, neck="fpn", depth=stem, bridge="gated", depth_format=DepthFormat(unit="mm")
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return model.eval()


@pytest.fixture
def pictures(tmp_path):
    """Four pictures in two folders, three with depth: one where the folders are mirrored, two by stem alone."""
    rng = np.random.default_rng(0)
    for name in ("a/one", "a/two", "b/one", "b/three"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), rng.integers(0, 256, (40, 30, 3), np.uint8))
    (tmp_path / "depth" / "b").mkdir(parents=True)
    for number, name in enumerate(("one", "two", "b/one")):
        cv2.imwrite(str(tmp_path / "depth" / f"{name}.png"), np.full((40, 30), 1000 * (number + 1), np.uint16))
    return tmp_path


def depth_of_places(folder, *places):
    """The depth file of each picture, None for none."""
    sources = [Source(folder / "images" / place, folder, place) for place in places]
    files = DepthFolder(folder / "depth").of(sources).files
    found = [files.get(source.path) for source in sources]
    return [file and file.relative_to(folder / "depth").as_posix() for file in found]


def test_each_picture_finds_the_depth_of_its_stem(pictures):
    found = depth_of_places(pictures, "a/one.png", "a/two.png", "b/one.png", "b/three.png")
    assert found == ["one.png", "two.png", "b/one.png", None]
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        DepthFolder(pictures / "nowhere")


def test_a_file_is_the_depth_of_one_picture(pictures):
    assert depth_of_places(pictures, "ü/one.png", "one.png", "b/one.png") == [None, "one.png", "b/one.png"]
    with pytest.raises(
        DataError, match=r"two\.png: could be the depth of .*a/two\.png and of .*b/two\.png; put it into"
    ):
        depth_of_places(pictures, "a/two.png", "b/two.png")
    assert depth_of_places(pictures, "a/two.png", "a/two.jpg") == ["two.png", "two.png"]  # the second will be refused


def test_a_picture_that_would_share_anothers_depth_is_predicted_without_and_it_is_told(model, pictures):
    (pictures / "images/a/one.png").rename(pictures / "images/two.png")
    found = segkit.Predictor(model).predict_files(pictures / "images", pictures / "masks", depth=pictures / "depth")
    assert [outcome.error for outcome in found] == [None] * 4
    assert [(outcome.source.parent.name, outcome.depth is not None, len(outcome.notes)) for outcome in found] == [
        ("a", False, 1),
        ("b", True, 0),
        ("b", False, 0),
        ("images", True, 0),
    ]
    assert found[0].notes[0].startswith("the depth of its stem lies where another picture's does")


def test_pictures_are_predicted_with_what_depth_there_is(model, pictures):
    predictor = segkit.Predictor(model)
    out = pictures / "masks"
    found = predictor.predict_files(pictures / "images", out, overlay=True, depth=pictures / "depth")
    assert [outcome.error for outcome in found] == [None] * 4
    assert [None if outcome.depth is None else outcome.depth.name for outcome in found] == [
        "one.png",
        "two.png",
        "one.png",
        None,
    ]
    assert [(out / f"{name}_depth.png").is_file() for name in ("a/one", "a/two", "b/one", "b/three")] == [
        True,
        True,
        True,
        False,
    ]
    picture = cv2.imread(str(out / "a/one_depth.png"))
    assert picture.shape == (40, 3 * 30 + 2 * GAP, 3)
    alone = predictor.predict(pictures / "images/a/one.png", depth=pictures / "depth/one.png")
    assert np.array_equal(np.asarray(Image.open(out / "a/one_mask.png")), alone.labels)

    again = predictor.predict_files(pictures / "images", out, overlay=True, depth=pictures / "depth", resume=True)
    assert all(outcome.kept for outcome in again)
    cv2.imwrite(str(pictures / "depth/two.png"), np.full((40, 30), 700, np.uint16))
    again = predictor.predict_files(pictures / "images", out, overlay=True, depth=pictures / "depth", resume=True)
    assert [outcome.kept for outcome in again] == [True, False, True, True]
    metres = DepthFormat(unit="m")
    again = predictor.predict_files(
        pictures / "images", out, overlay=True, depth=pictures / "depth", depth_format=metres, resume=True
    )
    assert not any(outcome.kept for outcome in again)
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert ["depth" in line for line in lines] == [True, True, True, False]


def test_millimetres_and_metres_are_the_same_depth(model, pictures):
    predictor, picture = segkit.Predictor(model), pictures / "images/a/one.png"
    values = np.random.default_rng(1).integers(0, 3000, (40, 30)).astype(np.uint16)
    first = predictor.predict(picture, depth=values).probabilities
    metres = (values / 1000).astype(np.float32)
    assert np.array_equal(
        predictor.predict(picture, depth=metres, depth_format=DepthFormat(unit="m")).probabilities, first
    )
    ready = np.stack([metres, metres > 0], axis=2).astype(np.float32)
    assert np.array_equal(predictor.predict(picture, depth=Measured(ready)).probabilities, first)
    tenths = predictor.predict(picture, depth=values * 10, depth_format=DepthFormat(unit="0.1mm")).probabilities
    assert np.array_equal(tenths, first)


def test_a_unit_on_the_command_line_keeps_what_training_said_is_not_measured(pictures, capsys):
    stem = {"name": "stem", "width": 4, "depth": 2}
    learnt = DepthFormat(unit="mm", invalid=(0, 65535))
    model = Segmenter.create(stem, classes=2, neck="fpn", depth=stem, depth_format=learnt).eval()
    segkit.save(model, pictures / "model")
    for name in ("one", "two"):
        cv2.imwrite(str(pictures / "depth" / f"{name}.png"), np.full((40, 30), 65535, np.uint16))
    command = ["predict", str(pictures / "model"), str(pictures / "images/a"), "--depth", str(pictures / "depth")]
    for unit in ((), ("--depth-unit", "mm"), ("--depth-unit", "0.1mm")):
        assert main([*command, "-o", str(pictures / "masks"), *unit]) == 0
        assert "in depth nothing is measured, and so it counts as none (2 pictures)" in capsys.readouterr().out
    assert main([*command, "-o", str(pictures / "masks"), "--depth-unit", "cm"]) == 2
    assert "--depth-unit cm: expected mm, m, so many of them such as 0.1mm, or relative" in capsys.readouterr().err


def test_a_stream_of_colour_and_depth(model):
    predictor, rng = segkit.Predictor(model), np.random.default_rng(2)
    frames = [rng.integers(0, 256, (40, 30, 3), np.uint8) for _ in range(3)]
    depths = [
        rng.integers(500, 3000, (40, 30)).astype(np.uint16),
        None,
        rng.integers(1, 900, (40, 30)).astype(np.uint16),
    ]
    found = list(predictor.stream(zip(frames, depths, strict=True)))
    assert [each.name for each in found] == [f"frame_{number:06}" for number in range(3)]
    for each, frame, depth in zip(found, frames, depths, strict=True):
        assert np.array_equal(each.probabilities, predictor.predict(frame, depth=depth).probabilities)
    with pytest.raises(DataError, match="frame 0: depth of image: depth is 20×10, its picture 30×40"):
        next(predictor.stream([(frames[0], np.ones((10, 20), np.uint16))]))


def test_depth_that_does_not_fit_says_why(model, pictures):
    predictor, picture = segkit.Predictor(model), pictures / "images/a/one.png"
    with pytest.raises(
        DataError, match=r"depth of .*one.png: depth is 20×10, its picture 30×40 \(width × height\); export"
    ):
        predictor.predict(picture, depth=np.ones((10, 20), np.uint16))
    with pytest.raises(UsageError, match=r"depth_format='m': expected a segkit\..*DepthFormat, such as DepthFormat\("):
        predictor.predict(picture, depth=np.ones((40, 30)), depth_format="m")
    with pytest.raises(UsageError, match="depth in relative: this model was trained on metres"):
        predictor.predict(picture, depth=np.ones((40, 30)), depth_format=DepthFormat(unit="relative"))
    for array in (np.ones((40, 30), bool), np.ones((40, 30), complex), np.ones(40)):
        with pytest.raises(DataError, match=r"depth of .*one.png: an array .*; expected integers or floats"):
            predictor.predict(picture, depth=array)
    with pytest.raises(UsageError, match="depth_format: says what the values of depth mean; give depth too"):
        predictor.predict(picture, depth_format=DepthFormat(unit="m"))
    with pytest.raises(UsageError, match=r"trained on metres; say m, mm or the like, or nothing"):
        predictor.predict_files(
            pictures / "images", pictures / "n", depth=pictures / "depth", depth_format=DepthFormat(unit="relative")
        )
    assert not (pictures / "n").exists()
    colour = segkit.Predictor(Segmenter.create({"name": "stem", "width": 4, "depth": 2}, classes=2).eval())
    with pytest.raises(UsageError, match="this model takes images alone; leave it out"):
        colour.predict(picture, depth=np.ones((40, 30)))
    with pytest.raises(UsageError, match="this model takes images alone; leave it out"):
        colour.predict_files(pictures / "images", pictures / "masks", depth=pictures / "depth")
    empty = pictures / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"no \.png, \.tif, \.tiff, \.npy there has the stem of any of the 4 pictures"):
        predictor.predict_files(pictures / "images", pictures / "masks", depth=empty)
    (pictures / "depth/two.png").write_bytes(b"no picture")
    found = predictor.predict_files(pictures / "images", pictures / "masks", depth=pictures / "depth")
    assert [outcome.error is None for outcome in found] == [True, False, True, True]
    assert "two.png: can't be decoded as a picture" in found[1].error


def test_depth_on_the_stored_pixels_of_a_turned_picture_is_turned_with_it(model, tmp_path):
    rng = np.random.default_rng(5)
    pixels, depth = rng.integers(0, 256, (30, 40, 3), np.uint8), rng.integers(1, 3000, (30, 40)).astype(np.uint16)
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "lying.png", exif=tag)
    predictor = segkit.Predictor(model)
    upright = predictor.predict(np.rot90(pixels, -1), depth=np.rot90(depth, -1))
    lying = predictor.predict(tmp_path / "lying.png", depth=depth)
    assert np.array_equal(lying.depth, upright.depth)
    assert np.array_equal(lying.probabilities, upright.probabilities)


def test_what_a_masked_array_masks_is_not_measured(model):
    predictor, picture = segkit.Predictor(model), np.zeros((40, 30, 3), np.uint8)
    masked = np.zeros((40, 30), bool)
    masked[:, :10] = True
    for values in (np.full((40, 30), 2000, np.uint16), np.full((40, 30), 2000, np.float16)):
        depth = predictor.predict(picture, depth=np.ma.masked_array(values, masked)).depth
        assert np.array_equal(depth, np.stack([2.0 * ~masked, ~masked], axis=2))


def test_a_model_that_learnt_from_depth_brought_onto_pictures_says_so(model):
    model.about = {"trained_on": {"depth": "brought onto the pictures"}}
    both = segkit.Ensemble([model, model])
    note = "in training depth was brought onto the pictures; here it is taken to lie on them already"
    picture, depth = np.zeros((40, 30, 3), np.uint8), np.ones((40, 30), np.uint16)
    for each in (model, both):
        predictor = segkit.Predictor(each)
        assert predictor.predict(picture, depth=depth).notes == (note,)
        assert predictor.predict(picture).notes == ()
        ready = np.ones((40, 30, 2), np.float32)
        assert predictor.predict(picture, depth=Measured(ready)).notes == ()


def test_files_of_other_types_are_no_depth_and_it_is_told(model, pictures):
    for place in ("three.exr", "two.json", "b/three.exr"):
        (pictures / "depth" / place).touch()
    found = segkit.Predictor(model).predict_files(pictures / "images", pictures / "masks", depth=pictures / "depth")
    assert [outcome.depth is not None for outcome in found] == [True, True, True, False]
    note = "of its stem there is .exr alone, not read as depth (.png, .tif, .tiff, .npy)"
    assert [outcome.notes for outcome in found] == [(), (), (), (note,)]


def test_depth_that_holds_nothing_or_is_unlike_what_was_learnt_from_is_told(pictures):
    stem = {"name": "stem", "width": 4, "depth": 2}
    encoding = {"name": "metres", "mean": [0.3], "std": [0.05]}
    model = Segmenter.create(stem, classes=2, neck="fpn", depth=stem, encoding=encoding).eval()
    predictor, picture = segkit.Predictor(model), pictures / "images/a/one.png"
    far = np.full((40, 30), 3000.0)
    assert predictor.predict(picture, depth=np.full((40, 30), 0.4)).notes == ()
    unlike = "depth is unlike what was learnt from, 3e+03 m in the middle, not 0.3 m; its unit?"
    assert predictor.predict(picture, depth=far).notes == (unlike,)
    smaller = Segmenter.create(stem, classes=2, neck="fpn", depth=stem, encoding=encoding, input_size=(80, 60)).eval()
    told = segkit.Predictor(smaller)  # enlarged twice, what is 0.7 m away looks as if it were at half of that
    assert told.predict(picture, depth=np.full((40, 30), 0.7)).notes == ()
    assert told.predict(picture, depth=np.full((40, 30), 0.3)).notes == ()
    (note,) = told.predict(picture, depth=np.full((40, 30), 1.3)).notes
    assert "0.65 m in the middle, not 0.3 m" in note
    nothing = "in depth nothing is measured, and so it counts as none"
    without = predictor.predict(picture).probabilities
    for empty in (np.zeros((40, 30)), np.full((40, 30), np.nan), np.full((40, 30), 1e30)):
        found = predictor.predict(picture, depth=empty)
        assert found.notes == (nothing,)
        assert np.array_equal(found.probabilities, without)
    for name in ("one", "two"):
        np.save(pictures / "depth" / f"{name}.npy", far)
        (pictures / "depth" / f"{name}.png").unlink()
    np.save(pictures / "depth/three.npy", np.zeros((40, 30), np.uint8))
    metres = DepthFormat(unit="m")
    found = predictor.predict_files(
        pictures / "images", pictures / "masks", depth=pictures / "depth", depth_format=metres
    )
    assert [outcome.notes for outcome in found] == [
        (unlike,),
        (unlike,),
        (unlike,),
        (nothing,),
    ]


def test_depth_is_drawn_from_dark_to_bright_and_holes_black():
    depth = np.zeros((2, 50, 2), np.float32)
    depth[0, :, 0], depth[0, :, 1] = np.linspace(1, 2, 50), 1
    picture = draw_depth(depth)
    assert not picture[1].any()
    brightness = picture[0].astype(int).sum(1)
    assert (np.diff(brightness) >= 0).all()
    assert not draw_depth(np.zeros((3, 3, 2), np.float32)).any()


def test_what_depth_changed_is_outlined():
    image, depth = np.zeros((6, 6, 3), np.float32), np.ones((6, 6, 2), np.float32)
    before, after = np.zeros((2, 6, 6), np.uint8)
    after[2:5, 2:5] = 1
    palette = np.array([[0, 0, 0], [0, 200, 0]], np.uint8)
    picture = draw_depth_and_change(image, depth, before, after, palette, background=0)
    assert picture.shape == (6, 3 * 6 + 2 * GAP, 3)
    middle, last = picture[:, 6 + GAP : 12 + GAP], picture[:, 12 + 2 * GAP :]
    assert not middle.any()
    outlined = (last == CHANGED).all(2)
    assert outlined.sum() == 8
    assert last[3, 3].tolist() == [0, 80, 0]


def test_a_stream_may_say_what_its_depth_means(model):
    predictor, rng = segkit.Predictor(model), np.random.default_rng(2)
    frame, values = rng.integers(0, 256, (40, 30, 3), np.uint8), rng.integers(500, 3000, (40, 30)).astype(np.uint16)
    metres = (values / 1000).astype(np.float32)
    first, bare = predictor.stream([(frame, metres), (frame, None)], depth_format=DepthFormat(unit="m"))
    assert np.array_equal(first.probabilities, predictor.predict(frame, depth=values).probabilities)
    assert np.array_equal(bare.probabilities, predictor.predict(frame).probabilities)
    with pytest.raises(UsageError, match="this model was trained on metres"):
        next(predictor.stream([(frame, metres)], depth_format=DepthFormat(unit="relative")))


def test_that_depth_was_left_out_is_told(model, pictures, capsys):
    segkit.save(model, pictures / "model")
    command = ["predict", str(pictures / "model"), str(pictures / "images/a"), "-o", str(pictures / "masks")]
    assert main(command) == 0
    assert "note: the model takes depth too (--depth FOLDER of pictures)" in capsys.readouterr().out
    assert main([*command, "--depth", str(pictures / "depth")]) == 0
    assert "takes depth too" not in capsys.readouterr().out


def test_stems_are_the_same_however_letters_with_marks_are_written(pictures):
    (pictures / "images/a/one.png").rename(pictures / "images/a/pru\u0308.png")
    (pictures / "depth/one.png").rename(pictures / "depth/pr\u00fc.png")
    assert depth_of_places(pictures, "a/pru\u0308.png") == ["pr\u00fc.png"]
