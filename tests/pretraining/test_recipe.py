"""Recipes of pretraining: what they take, and what is said of a wrong one."""

import subprocess
import sys

import pytest
import yaml

from segkit.errors import RecipeError, UsageError
from segkit.pretraining.recipe import PretrainRecipe
from segkit.recipe import Recipe
from segkit.recipe_file import command_for, load_as, load_recipe, recipe_names

MINIMAL = {"name": "x", "model": {"backbone": "resnet18"}, "classify": {}}


@pytest.fixture
def write(tmp_path):
    def writer(values):
        path = tmp_path / "recipe.yaml"
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
        return path

    return writer


def test_the_shipped_ones_are_called_like_their_files_and_read_back_equal(write):
    assert {"swin_cifar10", "swin_tiny_imagenet"} <= set(recipe_names("pretraining"))
    for name in recipe_names("pretraining"):
        assert load_as(PretrainRecipe, name).name == name
        assert load_as(PretrainRecipe, write(load_as(PretrainRecipe, name).to_yaml())) == load_as(PretrainRecipe, name)
        assert command_for(name) == "segkit pretrain"


@pytest.mark.parametrize("change", ["classify.mixup=0.2", "augment={flip: 0.25}", "data.size=[8, 12]"])
def test_the_resolved_recipe_reads_back_equal(write, change):
    recipe = load_as(PretrainRecipe, write(MINIMAL), [change, "train.minutes=2.5"], data="pictures")
    assert load_as(PretrainRecipe, write(recipe.to_yaml())) == recipe
    assert recipe.data.path == "pictures"
    assert recipe.train.minutes == 2.5
    twice = load_as(PretrainRecipe, write(MINIMAL), ["data.train_on=[train, test, train]"])
    assert twice.data.train_on == ["train", "test"]


def test_of_colour_and_depth_too(write):
    depth = {"name": "x", "model": {"backbone": "resnet18", "depth": "resnet18"}, "colour_depth": {}}
    recipe = load_as(PretrainRecipe, write(depth))
    assert recipe.objective == "colour_depth"
    assert load_as(PretrainRecipe, write(recipe.to_yaml())) == recipe


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"margin": 0.5}, "colour_depth: margin=0.5: loss: info_nce has none; leave it out"),
        ({"loss": "margin", "temperature": 0.1}, "colour_depth: temperature=0.1: loss: margin has none; leave it out"),
        ({"dense": 0, "radius": 4}, "radius=4: of the loss between places, whose weight is 0; leave it out"),
        ({"image": 0, "parts": 4}, "parts=4: of the loss between whole pictures, whose weight is 0; leave it out"),
    ],
)
def test_keys_of_a_loss_that_there_is_not_are_refused(write, section, message):
    values = {key: value for key, value in MINIMAL.items() if key != "classify"}
    values |= {"model": {**values["model"], "depth": "resnet18"}, "colour_depth": section}
    with pytest.raises(RecipeError) as found:
        load_as(PretrainRecipe, write(values))
    assert message in str(found.value)
    values["colour_depth"] = {"loss": "margin", "margin": 0.5}
    assert load_as(PretrainRecipe, write(values)).colour_depth.margin == 0.5


def test_a_side_is_a_square_and_augmentation_is_imagenets_unless_said_otherwise(write):
    recipe = load_as(PretrainRecipe, write({**MINIMAL, "data": {"size": 48}}))
    assert recipe.data.shape == (48, 48)
    assert recipe.augment.crop.scale == (0.08, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("classify.mixupp=0.2", "classify.mixupp: no such key; did you mean 'mixup'?"),
        ("classify.mix=2", "classify.mix: Input should be less than or equal to 1 (found 2)"),
        ("classify.label_smoothing=1", "classify.label_smoothing: Input should be less than 1 (found 1)"),
        ("augment.flipp=0.2", "augment.flipp: no such key; did you mean 'flip'?"),
        ("data.sizes=32", "data.sizes: no such key; did you mean 'size'?"),
        ("data.share=0", "data.share: Input should be greater than 0 (found 0)"),
        ("train.freeze=1", "train.freeze: no such key"),
        ("train.minutes=0", "train.minutes: Input should be greater than 0 (found 0)"),
        ("model.neck=unet", "model.neck: no such key"),
        ("loss={dice: 1}", "loss: no such key"),
        ("captions={}", "expected one section of classify, colour_depth, captions; found classify and captions"),
        ("classify=null", "expected one section of classify, colour_depth, captions; found none"),
        ("model.depth=resnet18", "model.depth is for colour_depth alone; classify looks at images"),
        ("data.train_on=[train, val]", "data.validate_on=val: it is trained on too, so its score would say little"),
        ("data.grow={start: 224}", "data.grow.start=224: images grow from there to data.size, 224; begin lower"),
        ("data.grow=16", "data.grow: expected keys and values, as {start, until} (found 16)"),
        ("data.validate_on=null", "train.keep=best and train.early_stopping need a split to score; set"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(write, change, message):
    path = write(MINIMAL)
    with pytest.raises(RecipeError) as caught:
        load_as(PretrainRecipe, path, [change])
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "colour_depth needs a backbone for depth; name one by model.depth"),
        ({"augment": {}}, "augment changes images without their depth; say what is wanted in colour_depth"),
    ],
)
def test_colour_and_depth_have_needs_of_their_own(write, section, message):
    depth = {"model": {"backbone": "resnet18", "depth": "resnet18"}} if section else {}
    values = {"name": "x", "model": {"backbone": "resnet18"}, "colour_depth": {}, **depth, **section}
    with pytest.raises(RecipeError, match=message):
        load_as(PretrainRecipe, write(values))


def test_a_recipe_of_the_other_command_is_sent_there(write):
    with pytest.raises(UsageError, match="'swin_cifar10' is for segkit pretrain, not segkit train"):
        load_recipe("swin_cifar10")
    with pytest.raises(UsageError, match="'demo' is for segkit train, not segkit pretrain"):
        load_as(PretrainRecipe, "demo")
    with pytest.raises(UsageError, match="no recipe 'swin_cifar'; did you mean 'swin_cifar10'"):
        load_as(PretrainRecipe, "swin_cifar")
    with pytest.raises(RecipeError, match="a recipe for segkit pretrain, not segkit train"):
        load_as(Recipe, write(MINIMAL))
    with pytest.raises(RecipeError, match="a recipe for segkit train, not segkit pretrain"):
        load_as(PretrainRecipe, write({"name": "x", "model": {"backbone": "resnet18"}, "predict": {}}))


def test_it_is_read_without_torch():
    code = "import sys, segkit.pretraining.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("key", ["words", "spell"])
def test_a_hugging_face_encoder_has_its_own_words(write, key):
    text = {"name": "hugging_face", "folder": "bert"}
    values = {"name": "x", "model": {"backbone": "resnet18"}, "captions": {"text": text}}
    recipe = load_as(PretrainRecipe, write(values))
    assert load_as(PretrainRecipe, write(recipe.to_yaml())) == recipe
    with pytest.raises(RecipeError, match=f"captions.{key} is of the transformer; hugging_face has its own words"):
        load_as(PretrainRecipe, write(values), [f"captions.{key}=0"])
