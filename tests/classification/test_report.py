import csv
import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import segkit
from segkit.classification.ensemble import ClassifierEnsemble
from segkit.classification.report import evaluate_classifier
from segkit.classification.score_table import classification_table
from segkit.classification.scores import classification_scores
from segkit.cli.main import main
from segkit.errors import DataError, ModelError, UsageError
from segkit.labelled.opening import open_labelled
from segkit.labelled.view import View

SWIN = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}
CLASSES = ("cat", "dog", "frog")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six images of each of three classes in a test split, two in the others; the classes are colours."""
    folder = tmp_path_factory.mktemp("labelled") / "animals"
    random = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 2), ("test", 6)):
        for number, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = random.integers(40, 90, size=(20 + i, 26, 3), dtype=np.uint8)
                image[..., 2 - number] += 60
                cv2.imwrite(str(folder / split / name / f"{i}.png"), image)
    return folder


def classifier(classes=CLASSES, **changes):
    torch.manual_seed(2)
    model = segkit.Classifier.create(SWIN, **{"classes": classes, "view": View(size=(16, 16)), **changes}).eval()
    nn.init.normal_(model.head.weight, std=1.5)
    model.about = {"trained_on": {"dataset": "animals", "splits": "train, val", "recipe": "tiny"}}
    return model


@pytest.fixture(scope="module")
def report(data):
    return segkit.evaluate(classifier(), data, precision="fp32")


def test_the_scores_are_those_of_what_the_model_says_of_each_image(data, report):
    images, model = open_labelled(data), classifier()
    indices = images.indices("test")
    with torch.no_grad():
        said = [model.probabilities(model.view(images.read(int(i)))[None])[0].numpy() for i in indices]
    np.testing.assert_allclose(report.probabilities, np.stack(said), atol=1e-5)
    np.testing.assert_array_equal(report.labels, images.labels[indices])
    assert report.names == tuple(images.names[i] for i in indices)
    expected = classification_scores(np.stack(said), images.labels[indices], CLASSES)
    for key in ("top1", "top5", "nll", "brier", "ece", "mean_class_accuracy"):
        assert report.metrics[key] == pytest.approx(expected[key], abs=1e-5)
    assert report.metrics["per_class"] == expected["per_class"]
    assert (report.metrics["data"], report.metrics["split"], report.metrics["images"]) == ("animals", "test", 18)
    assert report.headline() == {"top-1": round(expected["top1"], 4), "split": "test of animals", "images": 18}
    assert report.confusion.sum() == 18
    assert report.confusion.trace() / 18 == pytest.approx(expected["top1"])


def test_the_worst_come_first(report):
    own = report.probabilities[np.arange(18), report.labels]
    assert [each.probability for each in report.worst] == pytest.approx(sorted(own)[:16])
    assert report.worst[0].pixels.shape == (16, 16, 3)
    worst = report.worst[0]
    assert worst.true == CLASSES[report.labels[report.names.index(worst.name)]]
    wrong = report.metrics["confused"]
    assert sum(pair["images"] for pair in wrong) == 18 - report.confusion.trace()
    assert all(pair["of"] == 6 for pair in wrong)


def test_everything_is_written(report, tmp_path):
    report.save(tmp_path / "r")
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        *("metrics.json", "per_image.csv", "table.txt", "confusion.csv", "confusion.png", "worst.png")
    }
    assert json.loads((tmp_path / "r" / "metrics.json").read_text()) == report.metrics
    rows = list(csv.DictReader((tmp_path / "r" / "per_image.csv").open(newline="", encoding="utf-8")))
    assert len(rows) == 18
    assert rows[0]["image"] == report.names[0]
    assert rows[0]["predicted"] == CLASSES[report.probabilities[0].argmax()]
    assert sum(int(row["right"]) for row in rows) == report.confusion.trace()
    assert all((row["rank"] == "1") == (row["right"] == "1") for row in rows)
    assert (tmp_path / "r" / "table.txt").read_text() == report.table() + "\n"
    drawn = cv2.imread(str(tmp_path / "r" / "worst.png"))
    assert drawn.shape[0] > 500
    assert (drawn.min(2) < 200).mean() > 0.4  # the images fill it


def test_the_table_says_what_each_figure_is(report):
    table = report.table()
    lines = table.splitlines()
    assert lines[0] == "tiny on test of animals: 18 images, 3 classes, fp32"
    assert any(line.split()[:2] == ["top-1", f"{report.metrics['top1']:.4f}"] for line in lines)
    assert "top-5" not in table  # of three classes
    assert "NLL, nats" in table
    assert any(line.startswith("frog ") and " 6 " in line for line in lines)


def test_of_many_classes_the_table_shows_the_least_recognised():
    random = np.random.default_rng(0)
    probabilities, labels = random.dirichlet(np.ones(30), 900), np.arange(900) % 29  # the last one doesn't occur
    classes = [f"class_{i}" for i in range(30)]
    metrics = {
        **classification_scores(probabilities, labels, classes, resamples=20),
        "model": "m",
        "data": "d",
        "split": "test",
        "images": 900,
        "classes": classes,
        "confused": [],
        "settings": {"precision": "fp32"},
        "notes": ["a note"],
    }
    table = classification_table(metrics)
    assert "the 20 of 30 classes that are recognised least; metrics.json has all" in table
    assert "class_29" not in table
    assert "top-5" in table
    assert table.endswith("note: a note")


def test_splits_that_the_model_was_trained_on_are_named(data):
    model = classifier()
    model.about["fitted_on"] = {"dataset": "animals", "split": "val"}
    notes = evaluate_classifier(model, data, "val+test").metrics["notes"]
    assert "the model was trained on split 'val+test' of animals: these scores say little about new images" in notes
    assert "the ensemble was fitted on split 'val+test' of animals: these scores favour it" in notes
    assert evaluate_classifier(model, data, "val+test").metrics["images"] == 24


def test_what_members_were_trained_on_is_named_too(data):
    first, second = classifier(), classifier()
    first.about = {"trained_on": {"dataset": "animals", "splits": "train, val", "chosen_on": "test"}}
    second.about = {"trained_on": {"dataset": "others", "splits": "train"}}
    both = ClassifierEnsemble([first, second], names=["a", "b"])
    notes = evaluate_classifier(both, data, "test+val").metrics["notes"]
    told = [note for note in notes if note.startswith("member")]
    assert [note.partition(" of animals")[0] for note in told] == [
        "member a's model was trained on split 'test+val'",
        "member a's weights were chosen by split 'test+val'",
    ]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cat", "dog"), "animals has classes that the model doesn't know: 'frog'; the model's are 'cat', 'dog'. Call"),
        (("cat", "owl", "dog"), "doesn't know: 'frog'; the model's are 'cat', 'owl', 'dog'"),
    ],
)
def test_other_classes_are_refused(data, classes, message):
    with pytest.raises(ModelError, match=message):
        segkit.evaluate(classifier(classes), data)


def test_what_cannot_be_scored_is_said(data, tmp_path):
    with pytest.raises(DataError, match="no split 'tset'"):
        segkit.evaluate(classifier(), data, "tset")
    with pytest.raises(UsageError, match="tile: is of masks; a classifier's evaluation takes precision, batch"):
        segkit.evaluate(classifier(), data, tile=64)
    shutil.copytree(data, tmp_path / "broken")
    (tmp_path / "broken" / "test" / "cat" / "0.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"0\.png"):
        segkit.evaluate(classifier(), tmp_path / "broken")


def test_what_needs_masks_refuses_a_classifier(data, tmp_path):
    model = classifier()
    saved = segkit.save(model, tmp_path / "model")
    message = "a classifier, which gives a whole image one label, and masks are needed here; it is for 'segkit predict'"
    for given in (model, saved):
        with pytest.raises(ModelError, match=message):
            segkit.Predictor(given)
        with pytest.raises(ModelError, match=message):
            segkit.compare([given, given] if given is model else [given, tmp_path / "other"], data)


def test_the_command(data, tmp_path, capsys):
    model = str(segkit.save(classifier(), tmp_path / "model"))
    command = ["evaluate", model, str(data)]
    assert main([*command, "--precision", "fp32", "-o", str(tmp_path / "r")]) == 0
    assert capsys.readouterr().out.startswith("tiny on test of animals: 18 images, 3 classes, fp32\n")
    assert (tmp_path / "r" / "confusion.png").is_file()
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 18
    assert main([*command, "--lesions"]) == 2
    assert "--lesions: is of masks" in capsys.readouterr().err
    assert main(["evaluate", model, model, str(data)]) == 2
    assert "evaluated one at a time" in capsys.readouterr().err
    places = {"export": [], "stress": [str(data)], "trust": [str(data)]}
    for command, words in places.items():
        assert main([command, model, *words, "-o", str(tmp_path / f"{command}.onnx")]) == 3
        assert "a classifier, which gives a whole image one label" in capsys.readouterr().err


def test_images_of_some_of_the_models_classes_are_scored_by_its_ids(data):
    model = classifier(("wolf", "frog", "dog", "cat"))
    report = evaluate_classifier(model, data)
    images = open_labelled(data)
    names = [images.classes[label] for label in images.labels[images.indices("test")]]
    assert [model.classes[label] for label in report.labels] == names
    assert report.metrics["per_class"]["wolf"] == {"images": 0, "accuracy": None}
    assert report.metrics["top1"] == pytest.approx(np.mean(report.probabilities.argmax(1) == report.labels))


def test_the_split_that_the_weights_were_chosen_by_is_named(data):
    model = classifier()
    model.about["trained_on"] = {"dataset": "animals", "splits": "train", "chosen_on": "val"}
    notes = evaluate_classifier(model, data, "val").metrics["notes"]
    assert "the weights were chosen by split 'val' of animals: these scores favour them" in notes
    assert not any("chosen" in note for note in evaluate_classifier(model, data).metrics["notes"])


def test_a_report_overwrites_no_run_and_no_model(data, tmp_path, capsys):
    model = segkit.save(classifier(), tmp_path / "run" / "model")
    (tmp_path / "run" / "recipe.yaml").write_text("name: run")
    for out, what in ((tmp_path / "run", "a run"), (model, "a model")):
        assert main(["evaluate", str(model), str(data), "-o", str(out)]) == 2
        assert f"{out}: {what}, whose files a report would overwrite; choose another folder" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "run").iterdir()] in (["model", "recipe.yaml"], ["recipe.yaml", "model"])
