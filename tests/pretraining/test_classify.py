"""The objective of labelled images: its model, batches, loss and figures."""

import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss, top_k_accuracy_score

from segkit.errors import DataError, RecipeError, UsageError
from segkit.labelled.opening import open_labelled
from segkit.labelled.view import View
from segkit.pretraining.classify import create

CPU = torch.device("cpu")


@pytest.fixture
def make(recipe, colours):
    def build(path=colours, **changes):
        torch.manual_seed(0)
        data = {**changes.pop("data", {}), "path": str(path)}
        objective = create(recipe(data=data, **changes), CPU)
        objective.prepare()
        return objective

    return build


def test_the_model_has_the_datas_classes_normalisation_and_view(make, colours):
    objective = make(data={"size": 8, "share": 0.8})
    classifier = objective.classifier
    assert classifier.classes == ("blue", "green", "red")
    assert classifier.view == View(size=(8, 8), share=0.8)
    images = open_labelled(colours)
    pixels = np.stack([images.read(int(i)) for i in images.indices("train")]).reshape(-1, 3) / 255
    torch.testing.assert_close(classifier.mean.flatten(), torch.tensor(pixels.mean(0), dtype=torch.float32))
    torch.testing.assert_close(classifier.std.flatten(), torch.tensor(pixels.std(0), dtype=torch.float32))


def test_other_normalisations(make):
    assert make(data={"normalisation": "none"}).classifier.std.flatten().tolist() == [1, 1, 1]
    imagenet = make(data={"normalisation": "imagenet"}).classifier.mean.flatten().tolist()
    assert imagenet == pytest.approx([0.485, 0.456, 0.406])
    with pytest.raises(RecipeError, match="imagenet is for 3 channels, not 1"):
        make(data={"normalisation": "imagenet", "channels": 1})


def test_what_is_decided_is_said(make):
    notes = make().prepare()
    assert notes[-2:] == ["36 images of 3 classes to train on", "12 images of val to validate on"]
    assert make(data={"cache": False}).prepare()[-1].startswith("the images are read anew in each epoch")


def test_an_epochs_batches_depend_on_seed_and_number_alone(make):
    changes = {"augment": {"rand_augment": {}, "erase": 0.5}, "classify": {"mixup": 0.4, "cutmix": 1.0, "mix": 0.7}}
    objective, again = make(**changes), make(**changes)
    batches = list(objective.epoch(3))
    assert len(batches) == len(objective.epoch(3)) == 4
    assert sum(len(batch["name"]) for batch in batches) == 32  # what is left of 36 is no batch
    torch.rand(7)  # nobody else's draws count
    for one, other in zip(batches, again.epoch(3), strict=True):
        assert one["name"] == other["name"]
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["target"], other["target"])
    assert [batch["name"] for batch in batches] != [batch["name"] for batch in objective.epoch(4)]
    assert batches[0]["image"].shape == (8, 3, 12, 12)
    assert any(((batch["target"] > 0).sum(1) > 1).any() for batch in batches)
    other_seed = make(train={"seed": 1}, **changes)
    assert [batch["name"] for batch in other_seed.epoch(3)] != [batch["name"] for batch in batches]


def test_the_loss_is_cross_entropy_with_smoothed_labels(make):
    objective = make(classify={"label_smoothing": 0.2})
    batch = next(iter(objective.epoch(0)))
    objective.model.eval()
    logits, target = objective.model(batch["image"]), batch["target"]
    smoothed = 0.8 * F.one_hot(target, 3) + 0.2 / 3
    loss, further = objective.loss(batch)
    torch.testing.assert_close(loss, -(smoothed * logits.log_softmax(1)).sum(1).mean())
    assert further["train_top1"].item() == pytest.approx((logits.argmax(1) == target).float().mean().item())
    mixed = {**batch, "target": torch.softmax(torch.rand(8, 3), 1)}
    smoothed = 0.8 * mixed["target"] + 0.2 / 3
    torch.testing.assert_close(objective.loss(mixed)[0], -(smoothed * logits.log_softmax(1)).sum(1).mean())
    loss.backward()
    assert all(p.grad is not None for p in objective.model.parameters())


def test_the_figures_are_those_of_scikit_learn(make, colours):
    objective = make(data={"size": 8})
    objective.model.eval()
    with torch.no_grad():
        figures = objective.validate()
        images = open_labelled(colours)
        chosen = images.indices("val")
        seen = torch.stack([objective.view(images.read(int(index))) for index in chosen])
        probabilities = objective.model(seen).softmax(1).numpy()
    labels = images.labels[chosen]
    assert figures["validation_loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)
    assert figures["top1"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=1))
    assert figures["top5"] == 1.0
    assert objective.headline in figures


def test_the_digest_is_of_the_data_and_not_of_their_place(make, colours, tmp_path):
    copied = shutil.copytree(colours, tmp_path / "copy")
    digest = make().digest
    assert make(copied).digest == digest
    (copied / "train" / "red" / "00.png").unlink()
    assert make(copied).digest != digest


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": {"train_on": ["trian"]}}, DataError, "no split 'trian'; did you mean 'train'"),
        ({"data": {"validate_on": "test"}}, DataError, "no split 'test'"),
        ({"model": {"backbone": "swin_cifar11"}}, UsageError, "did you mean 'swin_cifar10'"),
        ({"model": {"backbone": {"name": "swin", "depth": 3}}}, UsageError, "has no option 'depth'"),
    ],
)
def test_what_cannot_be_trained_on_is_named(make, change, error, message):
    with pytest.raises(error, match=message):
        make(**change)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train/only/1", "val/only/1"], "one class alone, 'only'; classes are two or more"),
        (["train/a/1", "train/b/1"], "no split 'val'; there are: train; to train without one: data.validate_on=null"),
    ],
)
def test_data_that_cannot_be_learnt_from_are_refused(make, colours, tmp_path, files, message):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True)
        shutil.copy(colours / "train" / "red" / "00.png", tmp_path / f"{file}.png")
    with pytest.raises(DataError, match=message):
        make(tmp_path)


def test_images_without_label_are_refused(make, colours, tmp_path):
    copied = shutil.copytree(colours / "train", tmp_path / "list" / "images")
    files = sorted(copied.rglob("*.png"))
    rows = [f"images/{file.parent.name}/{file.name},{file.parent.name},train" for file in files[:-1]]
    lines = ["file,label,split", *rows, f"images/{files[-1].parent.name}/{files[-1].name},,train"]
    (tmp_path / "list" / "labels.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="in unlabelled has no label, as 1 of 1; choose a split whose images have one"):
        make(tmp_path / "list", data={"train_on": ["unlabelled"]})
