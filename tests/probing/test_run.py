"""A probe from images in folders to its figures."""

import json

import cv2
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import segkit
from segkit.cli.main import main
from segkit.errors import DataError, UsageError
from segkit.labelled.opening import open_labelled
from segkit.labelled.view import View
from segkit.probing.run import probe

TINY = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}
COUNTS = {"train": 16, "val": 4, "test": 6}
COLOURS = {"grass": (40, 160, 40), "sea": (160, 60, 30), "sand": (90, 170, 200)}


@pytest.fixture(scope="module")
def shores(tmp_path_factory):
    """Noisy pictures of 24×28 in three colours; a network that never learnt can tell them apart."""
    folder, draw = tmp_path_factory.mktemp("data") / "shores", np.random.default_rng(0)
    for split, count in COUNTS.items():
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(colour) + draw.normal(0, 50, (24, 28, 3)), 0, 255)
                cv2.imwrite(str(folder / split / name / f"{number:03}.png"), pixels.astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    torch.manual_seed(0)
    model = segkit.Classifier.create(TINY, classes=3, view=View(size=(24, 24)))
    return segkit.save(model, tmp_path_factory.mktemp("models") / "clf"), model.eval()


def features(model, images, split):
    """Of one picture after the other, as one would write it by hand."""
    with torch.inference_mode():
        seen = [View(size=(24, 24))(images.read(int(index)))[None] for index in images.indices(split)]
        levels = [model.backbone((image - model.mean) / model.std)[-1].mean((2, 3)) for image in seen]
    return torch.cat(levels).double().numpy(), images.labels[images.indices(split)]


def test_what_the_backbone_was_trained_on_is_said(shores, classifier, tmp_path):
    model = segkit.load(classifier[0])
    model.about = {"trained_on": {"dataset": open_labelled(shores).name, "splits": "train, val"}}
    known = segkit.save(model, tmp_path / "clf")
    said = "the backbone was trained on split 'val': these figures say little about new images"
    assert said in probe(known, shores, split="val", k=5).metrics["notes"]
    assert not any("was trained on" in note for note in probe(known, shores, k=5).metrics["notes"])
    model.about["trained_on"] |= {"splits": "train", "chosen_on": "val"}
    segkit.save(model, known)
    notes = probe(known, shores, split="val", k=5).metrics["notes"]
    assert "the backbone's weights were chosen by their score on split 'val': these figures favour them" in notes


def test_a_cache_that_can_not_be_written_is_told_at_once(shores, classifier, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file: can't write there \(Not a directory\)"):
        probe(classifier[0], shores, cache=tmp_path / "file", progress=lambda *_: pytest.fail("computed"))


def test_the_figures_are_those_of_scikit_learn(shores, classifier):
    path, model = classifier
    found = probe(path, shores, k=5, precision="fp32").metrics
    images = open_labelled(shores)
    (train, labels), (test, truth) = (features(model, images, split) for split in ("train", "test"))
    votes = KNeighborsClassifier(5, metric="cosine", algorithm="brute", weights=lambda far: np.exp((1 - far) / 0.07))
    assert found["knn"]["top1"] == pytest.approx(votes.fit(train, labels).score(test, truth))
    scaler = StandardScaler().fit(train)
    peer = LogisticRegression(C=1 / (len(train) * found["linear"]["strength"]), tol=1e-8, max_iter=10_000)
    peer.fit(scaler.transform(train), labels)
    assert found["linear"]["top1"] == pytest.approx(peer.score(scaler.transform(test), truth))
    of_truth = peer.predict_proba(scaler.transform(test))[np.arange(len(truth)), truth]
    assert found["linear"]["nll"] == pytest.approx(-np.log(of_truth).mean(), abs=1e-3)
    assert found["linear"]["top1"] > 0.8
    low, high = found["linear"]["interval"]
    assert low <= found["linear"]["top1"] <= high


def test_it_says_what_was_done(shores, classifier):
    found = probe(classifier[0], shores, split="val", k=100)
    metrics = found.metrics
    assert metrics["fitted_on"] == {"splits": "train", "images": 48}
    assert metrics["scored_on"] == {"splits": "val", "images": 12}
    assert metrics["level"] == {"index": 1, "stride": 8, "channels": 16}
    assert metrics["view"]["size"] == [24, 24]
    assert metrics["majority"]["top1"] == pytest.approx(1 / 3)
    assert "k is 100, but there are 48 training images: all of them vote" in metrics["notes"]
    assert json.loads(json.dumps(metrics)) == metrics
    table = found.table()
    assert "12 images of val, by 48 of train" in table
    assert f"{metrics['linear']['top1']:.2%}" in table
    assert "top-5" not in table  # three classes


def test_the_test_images_have_no_say_in_the_regularisation(shores, classifier, tmp_path):
    searched = [probe(classifier[0], shores, split=split).metrics["linear"]["searched"] for split in ("val", "test")]
    assert searched[0] == searched[1]


@pytest.mark.parametrize(
    ("options", "size"),
    [({}, [24, 24]), ({"size": 16}, [16, 16]), ({"size": (20, 12)}, [20, 12])],
)
def test_a_named_backbone_is_shown_images_at_their_own_size_or_another(shores, options, size):
    found = probe(TINY, shores, **options).metrics
    assert found["view"] == {"size": size, "share": 1.0}
    assert any("the weights are random" in note for note in found["notes"])


def test_another_level(shores):
    assert probe(TINY, shores, level=0).metrics["level"] == {"index": 0, "stride": 4, "channels": 8}


def test_images_without_a_label_count_on_neither_side(tmp_path, shores):
    files = sorted(shores.glob("*/*/*.png"))
    lines = [f"{file},{file.parent.name if n % 3 else ''},{file.parent.parent.name}" for n, file in enumerate(files)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *lines]))
    found = probe(TINY, tmp_path / "labels.csv").metrics
    labelled = [file.parent.parent.name for n, file in enumerate(files) if n % 3]
    assert found["fitted_on"]["images"] == labelled.count("train") < 48
    assert found["scored_on"]["images"] == labelled.count("test") < 18


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"split": "train"}, UsageError, "split is 'train', which the probes are fitted to; score another one"),
        ({"split": "tset"}, DataError, "no split 'tset'"),
        ({"size": 0}, UsageError, "size is 0; expected 1 or more"),
        ({"k": 0}, UsageError, "k is 0"),
        ({"level": 7}, UsageError, "level is 7; this backbone has 2"),
        ({"batch": 0}, UsageError, "batch=0: expected a number of images, 1 or more"),
        ({"precision": "auto"}, UsageError, "precision='auto': expected one of fp32, bf16, fp16, or None"),
        ({"device": "nowhere"}, UsageError, "device='nowhere': not there"),
    ],
)
def test_wrong_arguments_are_refused(shores, options, error, message):
    with pytest.raises(error, match=message):
        probe(TINY, shores, **options)


def test_the_command(shores, classifier, tmp_path, capsys):
    path = str(classifier[0])
    assert main(["probe", path, str(shores), "-k", "3", "-o", str(tmp_path / "probe.json"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "probe.json").read_text()) == probe(path, shores, k=3).metrics
    assert main(["probe", path, str(shores), "--split", "val"]) == 0
    assert "nearest neighbours" in capsys.readouterr().out


def test_the_command_takes_a_backbone_with_options(shores, capsys):
    assert main(["probe", "{name: swin, embed_dim: 8, depths: [1], heads: [1]}", str(shores), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["level"]["channels"] == 8


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["swin_tinny", "{data}"], 2, "neither a backbone's name"),
        (["{name: swin", "{data}"], 2, "can't be read as"),
        (["swin_tiny", "{data}", "-o", "probe.txt"], 2, "expected a file ending in .json"),
        (["swin_tiny", "nowhere"], 3, "nowhere"),
    ],
)
def test_what_the_command_refuses(shores, capsys, words, code, message):
    assert main(["probe", *[word.replace("{data}", str(shores)) for word in words]]) == code
    assert message in capsys.readouterr().err


def test_random_weights_are_the_same_each_time(shores, tmp_path):
    first, again = (probe(TINY, shores, cache=tmp_path).metrics for _ in range(2))
    assert first == again
    assert len(list(tmp_path.iterdir())) == 2  # train and test
    assert any("the weights are random (seed 0)" in note for note in first["notes"])
