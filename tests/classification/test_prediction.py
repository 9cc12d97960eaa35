import csv
import json
import os
import sys
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from torch import nn

import segkit
from segkit.classification.labelling import label_files
from segkit.classification.prediction import ImageLabel, Labeller, LabelsImages, classify
from segkit.cli.main import main
from segkit.errors import DataError, ModelError, UsageError
from segkit.labelled.view import View

SWIN = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}
CLASSES = ["cat", "dog", "bird", "fish", "frog", "newt"]


def classifier(seed=0, **changes):
    torch.manual_seed(seed)
    model = segkit.Classifier.create(SWIN, **{"classes": CLASSES, "view": View(size=(24, 24)), **changes}).eval()
    nn.init.normal_(model.head.weight, std=2.0)
    return model


def images(count=5, size=(30, 40), seed=3):
    random = np.random.default_rng(seed)
    return [random.integers(256, size=(*size, 3), dtype=np.uint8) for _ in range(count)]


@torch.no_grad()
def expected(model, image):
    return model.probabilities(model.view(image)[None])[0].numpy()


def test_arrays_of_any_size_are_labelled_as_the_model_says():
    model = classifier()
    given = [*images(3), *images(2, size=(64, 24), seed=4)]
    for found, image in zip(classify(model, given, precision="fp32", batch=2), given, strict=True):
        np.testing.assert_allclose(found.probabilities, expected(model, image), atol=1e-5)
        assert found.label == CLASSES[found.probabilities.argmax()]
        assert found.probability == found.probabilities.max()
        assert [name for name, _ in found.best()] == [CLASSES[i] for i in np.argsort(-found.probabilities)[:5]]
    assert classify(model, []) == []


def test_without_a_view_images_are_taken_as_they_are():
    model = classifier(view=None)
    given = [*images(3), *images(2, size=(64, 24), seed=4), *images(1)]
    for found, image in zip(classify(model, given, precision="fp32"), given, strict=True):
        with torch.no_grad():
            own = model.probabilities(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
        np.testing.assert_allclose(found.probabilities, own[0], atol=1e-5)


def test_batches_change_nothing_and_no_image_is_lost():
    model, given = classifier(), images(37, size=(24, 24))
    one = classify(model, given, precision="fp32", batch=1)
    done = []
    many = classify(model, given, precision="fp32", batch=8, progress=lambda *each: done.append(each))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)
    assert done[-1] == (37, 37, "array 36")


def test_a_model_in_training_is_asked_as_in_evaluation_and_left_as_it_was():
    model = segkit.Classifier.create({**SWIN, "drop_path": 0.9}, classes=CLASSES, view=View(size=(24, 24))).train()
    nn.init.normal_(model.head.weight, std=2.0)
    (found,) = classify(model, images(1), precision="fp32")
    assert model.training
    np.testing.assert_allclose(found.probabilities, expected(model.eval(), images(1)[0]), atol=1e-5)


def test_a_batch_norm_and_bf16_say_the_same_within_what_bf16_can():
    torch.manual_seed(1)
    model = segkit.Classifier.create("resnet18", classes=CLASSES, view=View(size=(32, 32))).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given = images(2, size=(32, 32))
    exact = classify(model, given, precision="fp32")
    rough = classify(model, given, precision="bf16")
    for each, other, image in zip(exact, rough, given, strict=True):
        np.testing.assert_allclose(each.probabilities, expected(model, image), atol=1e-4)
        np.testing.assert_allclose(each.probabilities, other.probabilities, atol=0.05)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_files_and_arrays_of_other_types_are_the_same_picture(tmp_path):
    model = classifier()
    (image,) = images(1)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    tifffile.imwrite(tmp_path / "b.tif", image.astype(np.uint16) * 257)
    given = [tmp_path / "a.png", str(tmp_path / "b.tif"), image.astype(np.uint16) * 257, image / 255]
    for found in classify(model, given, precision="fp32"):
        np.testing.assert_allclose(found.probabilities, expected(model, image), atol=1e-5)


def test_grey_pictures_become_coloured_and_coloured_ones_grey():
    grey = images(1)[0][..., 0]
    (found,) = classify(classifier(), [grey], precision="fp32")
    np.testing.assert_allclose(found.probabilities, expected(classifier(), np.stack([grey] * 3, 2)), atol=1e-5)
    model = classifier(in_channels=1)
    (found,) = classify(model, [np.stack([grey] * 3, 2)], precision="fp32")
    np.testing.assert_allclose(found.probabilities, expected(model, grey[..., None]), atol=1e-5)


def test_what_cannot_be_read_is_an_error_in_its_place(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    good = images(1)[0]
    given = [
        good,
        tmp_path / "bad.png",
        tmp_path / "none.png",
        np.zeros((2, 3, 4, 5), np.uint8),
        np.zeros((4, 4), np.int64),
        np.full((4, 4), np.nan),
        np.full((4, 4), 7.0),
        np.zeros((4, 4, 2), np.uint8),
        good,
    ]
    found = classify(classifier(), given)
    assert [each.error is None for each in found] == [True, *[False] * 7, True]
    for each, words in zip(
        found[1:-1],
        (
            "bad.png: can't be decoded",
            "none.png: no such file",
            "array 3: got [2, 3, 4, 5]; expected a path, or an array [H, W] or [H, W, C]",
            "array 4: the array is int64; expected uint8, uint16, or float in 0..1",
            "array 5: holds values that are not finite",
            "array 6: values run from 7 to 7",
            "array 7: the picture has 2 channels; the model takes 3",
        ),
        strict=True,
    ):
        assert words in each.error
        assert "\n" not in each.error
        assert (each.label, each.probability, each.best()) == (None, None, [])


def test_what_makes_no_sense_is_said():
    model = classifier()
    with pytest.raises(UsageError, match="precision='fp8': expected one of"):
        classify(model, [], precision="fp8")
    with pytest.raises(UsageError, match="batch=0: expected a number of images"):
        classify(model, [], batch=0)
    with pytest.raises(UsageError, match="device='nowhere': not there"):
        classify(model, [], device="nowhere")
    with pytest.raises(ModelError, match="Linear: no classifier"):
        classify(nn.Linear(1, 1), [])
    nn.init.constant_(model.head.weight, torch.nan)
    with pytest.raises(ModelError, match="not finite; was its training finite"):
        classify(model, images(1))


def test_a_batch_that_the_memory_does_not_hold_is_halved(monkeypatch):
    model, given = classifier(), images(8, size=(24, 24))
    labeller = Labeller(model, precision="fp32")
    computed, sizes = labeller._computed, []

    def small(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError
        return computed(pixels)

    monkeypatch.setattr(labeller, "_computed", small)
    found = labeller._probabilities(np.stack(given))
    assert sizes == [8, 4, 2, 2, 2, 2]
    for said, image in zip(found, given, strict=True):
        np.testing.assert_allclose(said, expected(model, image), atol=1e-5)

    def none(_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(labeller, "_computed", none)
    with pytest.raises(UsageError, match=r"out of GPU memory with one image \[24, 24\]"):
        labeller._probabilities(np.stack(given[:1]))


def test_a_classifier_labels_images_and_a_segmenter_does_not():
    assert isinstance(classifier(), LabelsImages)
    segmenter = segkit.Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=2)
    assert not isinstance(segmenter, LabelsImages)


@pytest.fixture
def pictures(tmp_path):
    for number, image in enumerate(images(3)):
        (tmp_path / "in" / f"of_{number}").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "in" / f"of_{number}" / "p.png"), image[..., ::-1])
    return tmp_path / "in"


def test_folders_of_files_are_labelled_and_written(pictures, tmp_path):
    model = classifier()
    (pictures / "bad.jpg").write_bytes(b"no picture")
    (pictures / "volume.nii.gz").write_bytes(b"")
    found, left_out = label_files(model, pictures, tmp_path / "out", precision="fp32")
    assert left_out == []
    assert len(found) == 5
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8")))
    table = {row["file"]: row for row in rows}
    entries = {entry["file"]: entry for entry in json.loads((tmp_path / "out" / "predictions.json").read_text())}
    assert list(rows[0]) == [
        *("file", "label", "probability"),
        *(f"{what}_{place}" for place in range(2, 6) for what in ("label", "probability")),
        "error",
    ]
    for number, image in enumerate(images(3)):
        name = str(pictures / f"of_{number}" / "p.png")
        said = expected(model, image)
        assert table[name]["label"] == entries[name]["label"] == CLASSES[said.argmax()]
        assert float(table[name]["probability"]) == pytest.approx(said.max(), abs=1e-5)
        assert [best["probability"] for best in entries[name]["best"]] == pytest.approx(
            sorted(said, reverse=True)[:5], abs=1e-5
        )
        assert table[name]["label_5"] == entries[name]["best"][4]["label"]
        assert entries[name]["error"] is None
    assert "can't be decoded" in table[str(pictures / "bad.jpg")]["error"]
    assert entries[str(pictures / "volume.nii.gz")]["error"].endswith(
        "classifiers take pictures (.png, .jpg, .jpeg, .tif, .tiff, .bmp, .webp, .svs, .ndpi, .scn, .bif, .qptiff)"
    )
    assert table[str(pictures / "bad.jpg")]["label"] == ""


def test_two_classes_have_two_columns(pictures, tmp_path):
    label_files(classifier(classes=["cat", "dog"]), pictures, tmp_path / "out")
    with (tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["file", "label", "probability", "label_2", "probability_2", "error"]


def test_a_folder_without_pictures_and_another_kind_of_model_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    found, _ = label_files(segkit.save(classifier(), tmp_path / "model"), tmp_path / "empty", tmp_path / "out")
    assert "empty: no pictures in it" in found[0].error
    with pytest.raises(DataError, match="no pictures there"):
        label_files(classifier(), [], tmp_path / "out")
    segmenter = segkit.Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=2)
    with pytest.raises(ModelError, match="no classifier, which gives whole images labels"):
        label_files(segkit.save(segmenter, tmp_path / "masks"), tmp_path / "empty", tmp_path / "out")


def test_the_command_labels_pictures(pictures, tmp_path, capsys):
    model = str(segkit.save(classifier(), tmp_path / "model"))
    command = ["predict", model, str(pictures), "-o", str(tmp_path / "out"), "--precision", "fp32"]
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    probability = expected(classifier(), images(3)[0])
    first = CLASSES[probability.argmax()]
    assert said[0].startswith(f"{pictures / 'of_0' / 'p.png'}: {first} {probability.max():.2f} (")
    assert said[-1].startswith(f"3 of 3 pictures labelled into {tmp_path / 'out'}")
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["label"] == first
    (pictures / "bad.png").write_bytes(b"no")
    assert main(command) == 3
    out, err = capsys.readouterr()
    assert "3 of 4 pictures labelled" in out
    assert err.startswith("error: ")
    assert "bad.png: can't be decoded" in err


@pytest.mark.parametrize(
    "option",
    [["--overlay"], ["--tile", "64"], ["--overlap", "0"], ["--threshold", "0.3"], ["--resume"], ["--tta", "d4"]],
)
def test_the_command_refuses_options_of_masks(pictures, tmp_path, capsys, option):
    model = str(segkit.save(classifier(), tmp_path / "model"))
    assert main(["predict", model, str(pictures), "-o", str(tmp_path / "out"), *option]) == 2
    assert f"{option[0]}: is of masks" in capsys.readouterr().err


def test_a_long_list_is_cut_short(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number, image in enumerate(images(23, size=(8, 8))):
        cv2.imwrite(str(tmp_path / "in" / f"{number:02}.png"), image)
    model = str(segkit.save(classifier(), tmp_path / "model"))
    assert main(["predict", model, str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 22
    assert lines[20] == "… and 3 more"


def test_equal_probabilities_keep_the_order_of_the_classes():
    found = ImageLabel("a", ("x", "y", "z"), np.array([0.25, 0.5, 0.25], np.float32))
    assert found.best() == [("y", 0.5), ("x", 0.25), ("z", 0.25)]


def test_one_image_in_the_place_of_several_is_refused():
    for given, shown in ((images(1)[0], "an array"), ("a.png", "'a.png'"), (Path("a.png"), "'a.png'")):
        with pytest.raises(UsageError, match=rf"images is {shown}.*; expected a list of images: \[image\]"):
            classify(classifier(), given)


def test_a_datasets_own_labels_stay(pictures, tmp_path):
    (pictures / "labels.csv").write_text("file,label\nof_0/p.png,cat\n")
    label_files(classifier(), [pictures / "of_0" / "p.png"], pictures)
    assert (pictures / "labels.csv").read_text() == "file,label\nof_0/p.png,cat\n"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_told_and_loses_nothing(pictures, tmp_path):
    odd = os.fsencode(pictures) + b"/bad\xff.png"
    with open(odd, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write((pictures / "of_0" / "p.png").read_bytes())
    found, _ = label_files(classifier(), pictures, tmp_path / "out")
    (error,) = (each.error for each in found if each.error)
    assert error == "bad\\xff.png: the name is no text in UTF-8; rename the file"
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8")))
    assert [row["file"].rpartition("/")[2] for row in rows] == ["bad\\xff.png", "p.png", "p.png", "p.png"]


def test_a_pass_that_needed_too_much_memory_is_gone_before_the_next(monkeypatch):
    labeller, alive = Labeller(classifier()), []

    class Activations:
        pass

    def small(pixels):
        assert [each() for each in alive] == [None] * len(alive)
        mine = Activations()
        alive.append(weakref.ref(mine))
        if len(pixels) > 1:
            raise torch.OutOfMemoryError
        return torch.full((1, 2), 0.5)

    monkeypatch.setattr(labeller, "_computed", small)
    labeller._probabilities(np.zeros((4, 8, 8, 3), np.uint8))
    assert len(alive) == 6


def test_the_precision_is_bfloat16_or_float32_by_itself(monkeypatch):
    for native, expected in (("fp16", "fp32"), ("bf16", "bf16"), ("fp32", "fp32")):
        monkeypatch.setattr("segkit.prediction.computing.fastest", lambda _, native=native: native)
        assert Labeller(classifier()).precision == expected
