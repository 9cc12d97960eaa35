"""A report's figures are those of the model's own predictions, of each member alone, and of masks made elsewhere."""

import csv
import json
import shutil

import cv2
import numpy as np
import pytest
import torch
import yaml

from segkit.artifact import load
from segkit.data.folder import open_dataset
from segkit.drawing.error_picture import FOUND, MISSED, NOTHING
from segkit.ensemble import Ensemble
from segkit.errors import DataError, ModelError, UsageError
from segkit.evaluation.calibration import Calibration
from segkit.evaluation.looks import probabilities_with_members
from segkit.evaluation.metrics import SegmentationMetrics
from segkit.evaluation.report import evaluate
from segkit.model import Segmenter
from segkit.prediction.predictor import Predictor

CELLS = ["background", "cell"]


def tiny(classes=CELLS, **options):
    return Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=classes, **options).eval()


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.array(values, np.uint8))


@pytest.fixture
def dataset(tmp_path):
    """Two test pictures of 2 × 4 pixels; the truth of each is its two columns on the left."""
    folder = tmp_path / "squares"
    for name in ("a", "b"):
        write(folder / "images" / f"{name}.png", [[10, 20, 30, 40]] * 2)
        write(folder / "masks" / f"{name}.png", [[1, 1, 0, 0]] * 2)
    description = {"classes": ["background", "square"], "splits": {"test": ["a", "b"]}}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(description))
    return folder


@pytest.fixture
def reader(tmp_path):
    """Another reader's masks: of a half the square and nothing else, of b all of it and one column more."""
    folder = tmp_path / "reader"
    write(folder / "a.png", [[1, 0, 0, 0]] * 2)
    write(folder / "b.png", [[1, 1, 1, 0]] * 2)
    return folder


def dice_of(report, name="square"):
    pooled, mean = report.metrics["pooled"], report.metrics["mean_over_images"]
    return pooled["per_class"][name]["dice"], mean["per_class"][name]["dice"]


def test_masks_made_elsewhere_by_hand(dataset, reader):
    # a: TP 2, FN 2, Dice 2·2/6; b: TP 4, FP 2, Dice 2·4/10; together TP 6, FP 2, FN 2
    assert dice_of(evaluate(reader, dataset)) == pytest.approx((12 / 16, (4 / 6 + 8 / 10) / 2))


def test_masks_of_0_and_255_and_with_the_names_that_predict_gives(dataset, reader):
    for name in ("a", "b"):
        mask = cv2.imread(str(reader / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        write(reader / f"{name}_mask.png", mask * 255)
        write(reader / f"{name}.png", mask * 0)  # NAME_mask comes first
    assert dice_of(evaluate(reader, dataset)) == pytest.approx((12 / 16, (4 / 6 + 8 / 10) / 2))


def test_pixels_outside_the_region_are_not_counted(dataset, reader):
    for name in ("a", "b"):
        write(dataset / "fov" / f"{name}.png", [[1, 1, 0, 0]] * 2)
    description = yaml.safe_load((dataset / "dataset.yaml").read_text())
    (dataset / "dataset.yaml").write_text(yaml.safe_dump(description | {"roi": "fov"}))
    report = evaluate(reader, dataset)
    assert report.metrics["region"] == "inside the region of interest"
    assert dice_of(report) == pytest.approx((12 / 14, (4 / 6 + 1) / 2))


def test_masks_of_a_multilabel_dataset(tmp_path):
    folder, reader = tmp_path / "labels", tmp_path / "reader"
    write(folder / "images" / "a.png", [[1, 2, 3, 4]] * 2)
    for place in (folder / "masks" / "a", reader / "a"):
        write(place / "left.png", [[1, 1, 0, 0]] * 2)
        write(place / "top.png", [[1, 1, 1, 1], [0, 0, 0, 0]])
    write(reader / "a" / "left.png", [[1, 0, 0, 0]] * 2)
    description = {"classes": ["left", "top"], "task": "multilabel", "splits": {"test": ["a"]}}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(description))
    report = evaluate(reader, folder)
    assert dice_of(report, "left")[0] == pytest.approx(4 / 6)
    assert dice_of(report, "top")[0] == 1


def test_colours_of_the_datasets_palette(dataset, reader):
    black, red = [0, 0, 0], [0, 0, 255]  # BGR
    for folder in (dataset / "masks", reader):
        for mask in folder.iterdir():
            ids = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
            cv2.imwrite(str(mask), np.array([black, red], np.uint8)[ids])
    description = {"palette": {"background": black, "square": [255, 0, 0]}, "splits": {"test": ["a", "b"]}}
    (dataset / "dataset.yaml").write_text(yaml.safe_dump(description))
    assert dice_of(evaluate(reader, dataset))[0] == pytest.approx(12 / 16)


def test_ids_are_read_where_the_dataset_has_a_palette(dataset, reader):
    for mask in (dataset / "masks").iterdir():
        ids = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(mask), np.array([[0, 0, 0], [0, 0, 255]], np.uint8)[ids])
    description = {"palette": {"background": [0, 0, 0], "square": [255, 0, 0]}, "splits": {"test": ["a", "b"]}}
    (dataset / "dataset.yaml").write_text(yaml.safe_dump(description))
    assert dice_of(evaluate(reader, dataset))[0] == pytest.approx(12 / 16)


def test_a_missing_mask_is_named(dataset, reader):
    (reader / "b.png").unlink()
    with pytest.raises(DataError, match=r"no mask for b; expected b\.png or b_mask\.png"):
        evaluate(reader, dataset)


def test_a_mask_of_another_size_is_named(dataset, reader):
    write(reader / "b.png", [[1, 0, 0]])
    with pytest.raises(DataError, match=r"b\.png: mask is 3×1, its picture 4×2"):
        evaluate(reader, dataset)


def test_a_mask_that_leaves_pixels_out_is_refused(dataset, reader):
    write(reader / "b.png", [[1, 1, 255, 0]] * 2)
    with pytest.raises(DataError, match=r"b: prediction holds class id 255; .*; 255 is foreground only where"):
        evaluate(reader, dataset)


def test_a_models_figures_are_those_of_its_predictions(prepared):
    torch.manual_seed(1)
    model, folder = tiny(), open_dataset(prepared / "cells")
    metrics = SegmentationMetrics(CELLS, "binary", 0)
    predictor = Predictor(model, tile=40, overlap=0.3, tta="flip")
    for sample in folder.samples("train"):
        prediction = predictor.predict(sample.image, threshold=0.45)
        metrics.update(sample.name, prediction.labels, folder.read_mask(sample))
    report = evaluate(model, prepared / "cells", "train", tile=40, overlap=0.3, tta="flip", threshold=0.45)
    expected = metrics.compute() | {"threshold": 0.45}
    assert {key: report.metrics[key] for key in expected} == expected
    assert report.members == {}


def test_an_ensembles_members_are_scored_as_they_would_be_alone(prepared):
    model = load(prepared / "runs" / "demo" / "model")
    settings = {"tile": 40, "overlap": 0.3, "threshold": 0.45}
    report = evaluate(model, prepared / "cells", "train", **settings)
    assert list(report.members) == ["swin_fpn", "stem_unet"]
    for name, member in zip(model.names, model.members, strict=True):
        alone = evaluate(member, prepared / "cells", "train", **settings).metrics
        assert report.members[name]["confusion"] == alone["confusion"]


@pytest.mark.parametrize("weights", [None, [3.0, 1.0], [[1.0, 2.0, 0.0], [1.0, 1.0, 4.0]]])
def test_one_pass_of_the_members_gives_the_ensembles_own_mean(weights):
    ensemble = Ensemble([tiny(["a", "b", "c"]), tiny(["a", "b", "c"])], weights).eval()
    image = torch.rand(2, 3, 9, 11)
    with torch.no_grad():
        mean, *members = probabilities_with_members(ensemble, image)
        torch.testing.assert_close(mean, ensemble.probabilities(image))
        for maps, member in zip(members, ensemble.members, strict=True):
            torch.testing.assert_close(maps, member.probabilities(image), rtol=0, atol=0)


def test_a_saved_model_is_scored_where_it_lies(prepared):
    path = prepared / "runs" / "demo" / "model"
    assert (
        evaluate(path, prepared / "cells", tile=40).metrics == evaluate(load(path), prepared / "cells", tile=40).metrics
    )


def test_the_model_must_be_of_the_datasets_task_and_classes(prepared, dataset):
    with pytest.raises(ModelError, match="the model's task is multiclass, that of squares is binary"):
        evaluate(tiny(["a", "b", "c"]), dataset)
    write(dataset / "masks" / "a.png", [[1, 1, 2, 0]] * 2)
    description = {"classes": ["background", "square", "disc"], "splits": {"test": ["a", "b"]}}
    (dataset / "dataset.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(ModelError, match="classes are background, disc, square, those of squares background, square"):
        evaluate(tiny(["background", "disc", "square"]), dataset)


def test_a_binary_model_may_call_its_foreground_something_else(dataset):
    report = evaluate(tiny(["background", "vessel"]), dataset)
    assert report.metrics["classes"] == ["background", "square"]
    with pytest.raises(ModelError, match=r"classes are square, background, those of squares .*; names and order must"):
        evaluate(tiny(["square", "background"]), dataset)


def test_a_model_that_gives_nan_is_refused(dataset):
    model = tiny()
    with torch.no_grad():
        next(model.head.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="a: the model gives values that are not finite"):
        evaluate(model, dataset)


def test_progress_counts_the_pictures(dataset, reader):
    calls = []
    evaluate(reader, dataset, progress=lambda *call: calls.append(call))
    assert calls == [(1, 2, "a"), (2, 2, "b")]


@pytest.mark.parametrize("given", [{"tile": None}, {"overlap": 0.5}, {"tta": "flip"}, {"threshold": 0.3}])
def test_masks_have_no_settings(dataset, reader, given):
    (name, value), *_ = given.items()
    with pytest.raises(UsageError, match=rf"{name}={value}: .* holds masks, which are scored as they are; leave it"):
        evaluate(reader, dataset, **given)


def test_the_headline_names_its_definition(dataset, reader):
    assert evaluate(reader, dataset).headline() == {
        "Dice of square, pooled": 0.75,
        "split": "test of squares",
        "images": 2,
    }


def test_the_table_of_a_binary_task(dataset, reader):
    lines = evaluate(reader, dataset).table().splitlines()
    assert lines[0] == f"masks in {reader} on squares, split test: 2 images, whole images, 16 pixels counted"
    assert lines[2].split() == ["pooled", "over", "all", "pixels", "mean", "over", "images"]
    assert lines[3].split() == ["square", "Dice", "IoU", "precision", "recall", "Dice", "IoU"]
    assert lines[4].split() == ["square", "0.7500", "0.6000", "0.7500", "0.7500", "0.7333", "0.5833"]


def test_the_table_of_many_classes_says_what_is_undefined(dataset, reader):
    write(reader / "a.png", [[2, 0, 0, 0]] * 2)
    description = {"classes": ["background", "square", "disc", "star"], "splits": {"test": ["a", "b"]}}
    (dataset / "dataset.yaml").write_text(yaml.safe_dump(description))
    lines = evaluate(reader, dataset).table().splitlines()
    assert lines[7].split() == ["star", *"––––––"]
    assert "without background" in lines[9]
    assert lines[-1].startswith("–: undefined")


def test_what_is_saved(prepared, tmp_path):
    report = evaluate(prepared / "runs" / "demo" / "model", prepared / "cells", "train")
    folder = report.save(tmp_path / "report")
    assert sorted(path.name for path in folder.iterdir()) == [
        "index.html",
        "metrics.json",
        "per_image.csv",
        "table.txt",
    ]
    assert json.loads((folder / "metrics.json").read_text()) == {**report.metrics, "members": report.members}
    assert (folder / "table.txt").read_text() == report.table() + "\n"
    with (folder / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    images = report.metrics["images"]
    assert [row["member"] for row in rows] == [""] * len(images) + ["swin_fpn"] * len(images) + ["stem_unet"] * len(
        images
    )
    assert rows[0]["image"] == images[0]["name"]
    assert float(rows[0]["dice cell"]) == images[0]["dice"]["cell"]


def test_an_empty_folder_is_neither_model_nor_masks(prepared, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"segkit\.json is missing"):
        evaluate(tmp_path / "empty", prepared / "cells")


def test_what_predict_wrote_scores_as_the_model_does(prepared, tmp_path):
    model = load(prepared / "runs" / "demo" / "model")
    folder = open_dataset(prepared / "cells")
    model.about["predict"]["threshold"] = 0.45  # of all settings kept with the model, the one that shows most
    Predictor(model).predict_files([s.image for s in folder.samples("train")], tmp_path / "masks", overlay=True)
    written = evaluate(tmp_path / "masks", prepared / "cells", "train").metrics
    assert written["confusion"] == evaluate(model, prepared / "cells", "train").metrics["confusion"]


def test_settings_not_given_are_those_kept_with_the_model(prepared):
    model = load(prepared / "runs" / "demo" / "model")
    kept = evaluate(model, prepared / "cells", "train").metrics
    assert kept["settings"] == {"tile": 48, "overlap": 0.25, "tta": None, "precision": Predictor(model).precision}
    assert kept["threshold"] == 0.99
    told = evaluate(model, prepared / "cells", "train", tile=None, threshold=0.45).metrics
    assert (told["settings"]["tile"], told["settings"]["overlap"], told["threshold"]) == (None, 0.25, 0.45)


def test_a_run_is_no_folder_of_masks(prepared):
    with pytest.raises(ModelError, match=r"demo: .*is a run; its model is .*model$"):
        evaluate(prepared / "runs" / "demo", prepared / "cells")


def test_calibration_and_intervals_of_the_model_and_each_member(prepared):
    model = load(prepared / "runs" / "demo" / "model")
    report = evaluate(model, prepared / "cells", "train", tile=None)
    alone = evaluate(model.members[0], prepared / "cells", "train", tile=None, threshold=0.99).metrics
    assert report.members["swin_fpn"]["calibration"]["ece"] == pytest.approx(alone["calibration"]["ece"])
    folder, calibration = open_dataset(prepared / "cells"), Calibration("binary", 1)
    for sample in folder.samples("train"):
        probabilities = Predictor(model, tile=None).predict(sample.image).probabilities
        calibration.update(probabilities, folder.read_mask(sample))
    assert report.metrics["calibration"]["brier"] == pytest.approx(calibration.compute(())["brier"])
    assert report.metrics["intervals"]["units"] == len(report.metrics["images"])


def test_masks_have_no_calibration_and_two_images_have_intervals(dataset, reader):
    metrics = evaluate(reader, dataset).metrics
    assert metrics["calibration"] is None
    assert metrics["intervals"]["pooled"]["per_class"]["square"]["dice"] == pytest.approx([4 / 6, 8 / 10])
    assert metrics["intervals"]["unit"] == "image"


def test_intervals_are_over_groups_where_the_dataset_has_them(dataset, reader):
    description = yaml.safe_load((dataset / "dataset.yaml").read_text())
    (dataset / "dataset.yaml").write_text(yaml.safe_dump(description | {"groups": {"patient": ["a", "b"]}}))
    report = evaluate(reader, dataset)
    assert (report.metrics["intervals"]["unit"], report.metrics["intervals"]["units"]) == ("group", 1)
    assert "no intervals: only one group" in report.table()
    assert "there is only one group" in report.page()


def test_the_worst_images_come_first(dataset, reader):
    report = evaluate(reader, dataset)
    assert report.metrics["worst"] == {
        "by": "Dice of square",
        "images": [
            {"name": "a", "score": pytest.approx(4 / 6)},
            {"name": "b", "score": pytest.approx(8 / 10)},
        ],
    }
    assert list(report.worst[0].pictures) == ["picture", "truth", "prediction", "errors"]


def test_a_picture_of_each_image_s_errors(dataset, reader, tmp_path):
    evaluate(reader, dataset, errors=tmp_path / "report" / "errors")
    errors = cv2.imread(str(tmp_path / "report" / "errors" / "a.png"))[..., ::-1]
    assert [tuple(pixel) for pixel in errors[0].tolist()] == [FOUND, MISSED, NOTHING, NOTHING]
    assert (tmp_path / "report" / "errors" / "b.png").is_file()


def test_a_threshold_chosen_on_one_split_and_judged_on_another(prepared):
    model, data = load(prepared / "runs" / "demo" / "model"), prepared / "cells"
    report = evaluate(model, data, "train", threshold_from="val", threshold=0.5)
    chosen = report.metrics["chosen_threshold"]
    best = chosen["per_class"]["cell"]["threshold"]
    assert (chosen["split"], chosen["images"], chosen["before"]) == ("val", 1, 0.5)

    def dice(split, threshold):
        return evaluate(model, data, split, threshold=threshold).metrics["pooled"]["per_class"]["cell"]["dice"]

    assert chosen["per_class"]["cell"]["dice_there"] == dice("val", best)
    assert all(dice("val", best) >= dice("val", other) for other in (0.3, 0.5, best - 1 / 64, best + 1 / 64))
    assert chosen["pooled"]["per_class"]["cell"]["dice"] == dice("train", best)
    assert report.metrics["pooled"]["per_class"]["cell"]["dice"] == dice("train", 0.5)
    assert f"cell: {best:.4f}; Dice on val" in report.table()
    assert "Chosen on val" in report.page()


def test_thresholds_of_a_multilabel_task_are_chosen_class_by_class(tmp_path):
    folder = tmp_path / "labels"
    for name in ("a", "b"):
        write(folder / "images" / f"{name}.png", [[10, 200, 30, 240]] * 4)
        write(folder / "masks" / name / "dark.png", [[1, 0, 1, 0]] * 4)
        write(folder / "masks" / name / "top.png", [[1] * 4, [0] * 4, [0] * 4, [0] * 4])
    description = {"classes": ["dark", "top"], "task": "multilabel", "splits": {"val": ["a"], "test": ["b"]}}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(description))
    torch.manual_seed(0)
    report = evaluate(tiny(["dark", "top"], task="multilabel"), folder, threshold_from="val")
    chosen = report.metrics["chosen_threshold"]
    assert list(chosen["per_class"]) == ["dark", "top"]
    for name, each in chosen["per_class"].items():  # the two pictures are equal, so what is best on one is on the other
        assert chosen["pooled"]["per_class"][name]["dice"] == each["dice_there"] >= each["dice_there_before"]
    assert list(report.metrics["calibration"]["per_class"]) == ["dark", "top"]
    assert "One line a class" in report.page()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold_from": "test"}, "can't be chosen on 'test', the split that is scored"),
        ({"threshold_from": "tests"}, "no split 'tests'"),
        ({"threshold_from": "train+val"}, "the threshold is chosen on one split; 'train\\+val' names several"),
    ],
)
def test_a_threshold_is_not_chosen_on_what_it_is_judged_by(prepared, options, message):
    with pytest.raises(UsageError, match=message):
        evaluate(prepared / "runs" / "demo" / "model", prepared / "cells", **options)


def test_a_threshold_is_not_chosen_on_shared_pictures_nor_for_masks_nor_for_many_classes(dataset, reader):
    def describe(**changes):
        description = yaml.safe_load((dataset / "dataset.yaml").read_text())
        (dataset / "dataset.yaml").write_text(yaml.safe_dump(description | changes))

    with pytest.raises(UsageError, match="for masks: they have no probabilities"):
        evaluate(reader, dataset, threshold_from="val")
    describe(splits={"val": ["b"], "test": ["a", "b"]})
    with pytest.raises(UsageError, match="on 'val': it shares 1 picture with 'test', for example b"):
        evaluate(tiny(), dataset, threshold_from="val")
    describe(classes=["background", "square", "disc"])
    with pytest.raises(UsageError, match="the most probable class wins"):
        evaluate(tiny(["background", "square", "disc"]), dataset, threshold_from="val")


def test_it_is_said_aloud_that_the_model_knows_the_pictures(prepared):
    model, data = load(prepared / "runs" / "demo" / "model"), prepared / "cells"
    model.about["trained_on"] |= {"dataset": open_dataset(data).name, "splits": "train, val"}
    report = evaluate(model, data, "train", threshold_from="val")
    scored, chosen = report.metrics["notes"]
    assert scored.startswith("the model was trained on split 'train' of")
    assert "the threshold chosen there fits what it has seen" in chosen
    assert f"note: {scored}" in report.table()
    assert "The model was trained on split" in report.page()
    assert evaluate(model, data, "test").metrics["notes"] == []


def test_it_is_said_aloud_that_two_splits_share_a_patient(dataset):
    description = {"classes": CELLS, "splits": {"val": ["a"], "test": ["b"]}, "groups": {"patient 7": ["a", "b"]}}
    (dataset / "dataset.yaml").write_text(yaml.safe_dump(description))
    (note,) = evaluate(tiny(), dataset, threshold_from="val").metrics["notes"]
    assert note == "'val' and 'test' share 1 group, for example patient 7: the threshold is not judged on new ones"


def test_progress_counts_the_pictures_of_both_splits(prepared):
    calls = []
    evaluate(
        prepared / "runs" / "demo" / "model",
        prepared / "cells",
        threshold_from="val",
        progress=lambda done, total, _: calls.append((done, total)),
    )
    assert calls == [(1, 2), (2, 2)]


def test_it_is_said_which_member_knows_the_pictures_and_that_another_split_has_them(prepared, tmp_path):
    model, data = load(prepared / "runs" / "demo" / "model"), tmp_path / "cells"
    shutil.copytree(prepared / "cells", data)
    description = yaml.safe_load((data / "dataset.yaml").read_text())
    test = description["splits"]["test"]
    description["splits"]["more"] = test[:1]
    (data / "dataset.yaml").write_text(yaml.safe_dump(description))
    name = open_dataset(data).name
    first, second = model.members
    model.about = {}
    first.about = {"trained_on": {"dataset": name, "splits": "test", "chosen_on": "test"}}
    second.about = {"trained_on": {"dataset": name, "splits": "more"}}
    a, b = model.names
    assert evaluate(model, data, "test").metrics["notes"] == [
        f"member {a} was trained on split 'test' of {name}: these scores say little about new images",
        f"member {a}'s weights were chosen by their score on split 'test' of {name}: these scores favour them",
        f"member {b} was trained on 1 of these {len(test)} images, which another split has too: these scores say "
        "little about new images",
    ]
