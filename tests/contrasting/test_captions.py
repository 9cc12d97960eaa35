import csv
import shutil

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import segkit
from segkit.contrasting.caption_retrieval import caption_recall
from segkit.contrasting.image_text import ImageText
from segkit.contrasting.zero_shot import zero_shot
from segkit.errors import DataError, RecipeError, UsageError
from segkit.pretraining.captions import create
from segkit.pretraining.recipe import PretrainRecipe
from segkit.pretraining.run import pretrain
from segkit.recipe_file import load_as

COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0), "white": (255, 255, 255)}
RECIPE = {
    "name": "small",
    "data": {"size": 12},
    "model": {"backbone": {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}},
    "captions": {"text": {"name": "transformer", "width": 16, "depth": 1, "heads": 2}, "dim": 8, "spell": 0.2},
    "train": {"epochs": 2, "batch": 8, "precision": "fp32", "workers": 0},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Squares of four colours, each with two captions."""
    folder = tmp_path_factory.mktemp("squares")
    rows = [("file", "caption", "split")]
    for number in range(24):
        name = list(COLOURS)[number % 4]
        image = np.full((14, 16, 3), COLOURS[name], np.uint8)
        image[number % 5 : number % 5 + 2] //= 2
        cv2.imwrite(str(folder / f"{number}.png"), image)
        split = "val" if number >= 20 else "train"
        rows += [(f"{number}.png", f"a {name} square", split), (f"{number}.png", f"something {name}", split)]
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def objective(path, **changes):
    torch.manual_seed(0)
    recipe = PretrainRecipe.model_validate({**RECIPE, **changes})
    made = create(recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": str(path)})}), "cpu")
    notes = made.prepare()
    return made, notes


def test_both_encoders_get_gradients(data):
    made, notes = objective(data)
    assert "20 images with 8 different captions to train on" in notes
    assert "4 images with 8 different captions of val held out: r1 is 25.0% by chance" in notes
    batch = next(iter(made.epoch(0)))
    loss, further = made.loss(batch)
    loss.backward()
    for part in (made.image_text.image, made.image_text.text):
        gradients = [parameter.grad for parameter in part.parameters()]
        assert all(gradient is not None for gradient in gradients)
        assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0
    assert made.image_text.contrast.log_scale.grad != 0
    assert float(further["temperature"]) == pytest.approx(0.07)


def test_batches_depend_on_seed_and_epoch_alone(data):
    made, _ = objective(data)
    first, again = (list(made.epoch(3)) for _ in range(2))
    assert len(made.epoch(3)) == len(first) == 2
    for one, other in zip(first, again, strict=True):
        assert one["name"] == other["name"]
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["tokens"].ids, other["tokens"].ids)
    assert next(iter(made.epoch(4)))["name"] != first[0]["name"]


def test_every_image_has_one_of_its_own_captions_and_equal_captions_one_group(data):
    made, _ = objective(data, captions={**RECIPE["captions"], "spell": 0})
    words = {258 + number: word for number, word in enumerate(made.image_text.text.tokenizer.words)}
    groups = {}
    for epoch in range(3):
        for batch in made.epoch(epoch):
            rows = zip(batch["name"], batch["tokens"].ids.tolist(), batch["group"].tolist(), strict=True)
            for name, ids, group in rows:
                text = " ".join(words[number] for number in ids if number >= 258)
                colour = list(COLOURS)[int(name) % 4]
                assert text in (f"a {colour} square", f"something {colour}")
                assert groups.setdefault(text, group) == group
    assert len(groups) == len(set(groups.values())) == 8


def test_pretraining_leaves_a_model_that_names_colours(data, tmp_path):
    changes = ["train.epochs=40", "train.learning_rate=0.01", "train.ema=null", "augment.crop={scale: [0.5, 1.0]}"]
    run = pretrain(PretrainRecipe.model_validate(RECIPE), data, changes, out=tmp_path, console=False)
    assert isinstance(run.model, ImageText)
    assert run.metrics["r1"] > 0.5  # by chance 0.25
    assert run.metrics.keys() == {"validation_loss", "r1", "r1_to_text", "r1_to_image"}
    model = segkit.load(run.directory / "model")
    squares = [np.full((12, 12, 3), COLOURS[name][::-1], np.uint8) for name in COLOURS]
    classes = {name: [f"a {name} square", f"something {name}"] for name in COLOURS}
    found = [each.label for each in zero_shot(model, squares, classes)]
    assert sum(a == b for a, b in zip(found, COLOURS, strict=True)) >= 3
    weights = load_file(run.backbone)
    assert weights.keys() == model.image.backbone.state_dict().keys()
    rows = list(csv.DictReader((run.directory / "retrieved.csv").open()))
    assert [row["image"] for row in rows] == ["20", "21", "22", "23"]
    assert sum(row["own"] == "yes" for row in rows) / 4 == pytest.approx(run.metrics["r1_to_text"])
    table = list(csv.DictReader((run.directory / "metrics.csv").open()))
    assert float(table[-1]["temperature"]) != float(table[0]["temperature"])


def test_the_shipped_recipe_is_valid():
    recipe = load_as(PretrainRecipe, "captions")
    assert recipe.objective == "captions"
    assert recipe.captions.text.name == "transformer"


def test_what_is_cut_off_is_said_and_what_is_missing(data, tmp_path):
    _, notes = objective(data, captions={**RECIPE["captions"], "length": 3})
    assert "4 captions are cut off after 3 tokens; see captions.length" in notes
    made, _ = objective(data, captions={**RECIPE["captions"], "length": 3})
    made.options.length = 9
    assert "4 captions are cut off after 3 tokens; the text encoder reads no more" in made.prepare()
    with pytest.raises(UsageError, match="no list of captions there"):
        objective(tmp_path)
    with pytest.raises(DataError, match="no split 'test'"):
        objective(data, data={"size": 12, "validate_on": "test"})


@pytest.mark.parametrize(
    ("rows", "change", "error", "message"),
    [
        (
            None,
            {"train": {**RECIPE["train"], "batch": 1}},
            RecipeError,
            "train.batch=1: a caption is told from the oth",
        ),
        (["0,a red square,train"], {}, DataError, "1 image to train on; which caption is whose takes 2 or more"),
        (["0,a Square,train", "1,A square,train", "2,red,val"], {}, DataError, "have a caption of the same words"),
    ],
)
def test_what_teaches_nothing_is_refused(data, tmp_path, rows, change, error, message):
    folder = data if rows is None else tmp_path
    if rows is not None:
        for number in range(3):
            shutil.copy(data / f"{number}.png", tmp_path)
        lines = ["file,caption,split", *(row.replace(",", ".png,", 1) for row in rows)]
        (tmp_path / "captions.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(error, match=message):
        objective(folder, **change)


def test_recall_counts_captions_of_equal_words_as_one():
    space = torch.eye(3)
    own = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 1]]).bool()
    images = space[[0, 1, 2]]  # the second image is where the second text is, which isn't its own
    assert caption_recall(images, space, own) == {
        "r1": pytest.approx((2 / 3 + 2 / 3) / 2),
        "r1_to_text": pytest.approx(2 / 3),
        "r1_to_image": pytest.approx(2 / 3),
    }


def test_a_space_of_one_place_finds_nothing():
    same = torch.ones(4, 2) / 2**0.5
    found = caption_recall(same, same, torch.eye(4).bool())
    assert found == {"r1": 0, "r1_to_text": 0, "r1_to_image": 0}


def test_captions_that_are_read_alike_are_one_and_an_images_others_no_negatives(tmp_path):
    rows = [("file", "caption", "split")]
    said = [("A red disc", "something red"), ("a  red disc",), ("a blue disc",), ("A RED DISC",)]
    for number, captions in enumerate(said):
        for split in ("train", "val"):
            cv2.imwrite(str(tmp_path / f"{split}{number}.png"), np.full((14, 14, 3), 60 * number, np.uint8))
            rows += [(f"{split}{number}.png", caption, split) for caption in captions]
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    made, notes = objective(tmp_path, captions={**RECIPE["captions"], "spell": 0})
    assert "4 images with 3 different captions to train on" in notes
    assert any("3 different captions of val held out: r1 is 41.7% by chance" in note for note in notes)
    batch = next(iter(made.epoch(0)))
    own = dict(zip(batch["name"], batch["own"].tolist(), strict=True))
    assert own == {"train0": [0, 1], "train1": [0, -1], "train2": [2, -1], "train3": [0, -1]}
    assert all(group in own[name] for name, group in zip(batch["name"], batch["group"].tolist(), strict=True))
    perfect = torch.eye(3)[[0, 0, 2, 0]]
    made._held_out_vectors = lambda texts: (perfect, torch.eye(3)[: len(texts)])
    with torch.no_grad():
        found = made.validate()
    assert found["r1_to_text"] == 1
    assert found["r1_to_image"] == pytest.approx(2 / 3)  # "something red" finds the others as easily
