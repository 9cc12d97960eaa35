import pytest
import torch
import yaml

import segkit
from segkit.errors import RecipeError, UsageError
from segkit.recipe import Recipe
from segkit.recipe_file import load_recipe, recipe_names

MINIMAL = {"name": "cells", "model": {"backbone": "resnet18"}}


@pytest.fixture
def write(tmp_path):
    def writer(values):
        path = tmp_path / "recipe.yaml"
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
        return path

    return writer


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_reads_and_is_called_like_its_file(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_names_networks_that_can_be_built(name):
    for member in load_recipe(name).members():
        parts = member.model.model_dump(exclude={"name", "train", "data", "start", "boost"})
        with torch.device("meta"):
            model = segkit.Segmenter.create(**parts, classes=2)
            grid = model.grid_logits(torch.rand(1, 3, 97, 130)).shape[-2:]
        assert grid == (tuple(member.model.output_size) if member.model.output_size else (97, 130))


def test_the_resolved_recipe_reads_back_equal(write):
    recipe = load_recipe("retina_ensemble", ["train.epochs=3"], data="pictures")
    assert load_recipe(write(recipe.to_yaml())) == recipe


def test_a_name_is_short_for_a_part_without_options(write):
    recipe = load_recipe(write(MINIMAL))
    assert recipe.model.backbone.model_dump() == {"name": "resnet18"}
    assert recipe.model.neck.name == "unet"


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.epochs=50", lambda r: r.train.epochs == 50),
        ("train.learning_rate=1e-2", lambda r: r.train.learning_rate == 0.01),
        ("data.crop=[64, 96]", lambda r: r.data.crop == (64, 96)),
        ("data.crop=null", lambda r: r.data.crop is None),
        ("model.backbone.weights=imagenet", lambda r: r.model.backbone.model_extra == {"weights": "imagenet"}),
        ("predict.tta=flip", lambda r: r.predict.tta == "flip"),
        ("loss.focal.gamma=3", lambda r: r.loss["focal"] == {"gamma": 3}),
    ],
)
def test_overrides_are_yaml_values_at_dotted_keys(write, override, read):
    assert read(load_recipe(write(MINIMAL), [override]))


def test_an_override_reaches_one_member_by_its_index():
    members = load_recipe("retina_ensemble", ["ensemble.members.1.train.epochs=7"]).members()
    assert members[1].train.epochs == 7
    assert members[0].train.epochs != 7


def test_an_override_changes_one_member_where_a_file_has_all_share_a_section(write):
    recipe = load_recipe("seven_member_ensemble", ["ensemble.members.0.head.doublings=1"])
    first, *others = (getattr(member.head, "doublings", None) for member in recipe.ensemble.members)
    assert first == 1
    assert 1 not in others


def test_an_override_below_a_section_that_is_not_there_changes_its_default(write):
    path = write({"name": "a", "model": {"backbone": "stem"}})
    assert load_recipe(path, ["loss.dice=0.5"]).loss == {"cross_entropy": 1.0, "dice": 0.5}
    assert load_recipe(path, ["model.head.doublings=2"]).model.head.model_dump() == {"name": "upsample", "doublings": 2}
    assert load_recipe(path, []).loss == {"cross_entropy": 1.0, "dice": 1.0}


def test_a_member_changes_single_keys_of_the_shared_sections(write):
    members = [
        {"name": "a", "backbone": "resnet18"},
        {"name": "b", "backbone": "swin_tiny", "train": {"learning_rate": 0.5}, "data": {"crop": 32}},
    ]
    recipe = load_recipe(write({"name": "two", "ensemble": {"members": members}, "train": {"epochs": 9}}))
    first, second = recipe.members()
    assert (first.train.learning_rate, first.train.epochs, first.data.crop) == (0.001, 9, 256)
    assert (second.train.learning_rate, second.train.epochs, second.data.crop) == (0.5, 9, 32)


def test_the_data_argument_wins_over_the_file(write):
    path = write({**MINIMAL, "data": {"path": "here"}})
    assert load_recipe(path, data="there").data.path == "there"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**MINIMAL, "train": {"epoch": 5}}, r"recipe\.yaml: train\.epoch: no such key; did you mean 'epochs'\?"),
        ({**MINIMAL, "train": {"batch": "many"}}, r"recipe\.yaml: train\.batch: .*valid integer.*found 'many'"),
        (
            {**MINIMAL, "data": {"crop": -1, "foreground": 2}},
            r"foreground: .*less than or equal to 1 \(found 2\)",
        ),
        ({"name": "x"}, "give either 'model' or 'ensemble.members'"),
        ({**MINIMAL, "ensemble": {"members": [{"name": "a", "backbone": "b"}]}}, "give either 'model' or"),
        ({"name": "x", "ensemble": {"members": [{"backbone": "b"}]}}, r"ensemble\.members\.0\.name: missing"),
        (
            {"name": "x", "ensemble": {"members": [{"name": "a", "backbone": "b"}] * 2}},
            "two members are called 'a'; give each its own name",
        ),
        (
            {"name": "x", "ensemble": {"members": [{"name": "a", "backbone": "b"}], "weights": [1, 2]}},
            "2 weights for 1 members",
        ),
        (
            {"name": "x", "ensemble": {"members": [{"name": "a", "backbone": "b"}], "weights": [-1]}},
            "weights must be zero or more",
        ),
        (
            {"name": "x", "ensemble": {"members": [{"name": "a", "backbone": "b", "train": {"epoch": 1}}]}},
            "member 'a': train has no key 'epoch'; did you mean 'epochs'",
        ),
        (
            {"name": "x", "ensemble": {"members": [{"name": "a", "backbone": "b", "train": {"epochs": 0}}]}},
            "epochs: .*greater than or equal to 1",
        ),
        ({**MINIMAL, "train": {"workers": -1}}, r"train\.workers.*greater than or equal to 0"),
        ({**MINIMAL, "train": {"freeze": True}}, r"train\.freeze: Input should be a number, true and false are none"),
        ({**MINIMAL, "train": {"epochs": True}}, r"train\.epochs: Input should be a number"),
        ({**MINIMAL, "train": {"layer_decay": True}}, r"train\.layer_decay: Input should be a number"),
        ({**MINIMAL, "train": {"betas": [0.9, False]}}, r"train\.betas: Input should be a number"),
        ({**MINIMAL, "train": {"freeze": -1}}, r"train\.freeze: .*greater than or equal to 0"),
        ({**MINIMAL, "train": {"layer_decay": 0}}, r"train\.layer_decay: .*greater than 0"),
        ({**MINIMAL, "train": {"betas": [0.9, 1.5]}}, r"train\.betas\.1: .*less than 1"),
        ({**MINIMAL, "data": {"crop": 0}}, r"data\.crop.*greater than or equal to 1"),
        ({**MINIMAL, "data": {"window": [0, float("inf")]}}, r"data\.window.*a finite number"),
        (
            {"name": "x", "ensemble": {"members": [{"name": "a", "backbone": "b"}], "weights": [float("nan")]}},
            r"ensemble\.weights\.0: .*a finite number",
        ),
        ({**MINIMAL, "data": {"window": [5, 1]}}, r"data\.window: expected two rising intensities, found \[5"),
        (
            {"name": "x", "ensemble": {"members": [{"name": "a", "backbone": "b", "data": {"path": "y"}}]}},
            "member 'a': all members train on one dataset",
        ),
        (
            {**MINIMAL, "model": {"backbone": "b", "output_size": [4, 4]}, "data": {"crop": None}},
            "cells: input_size and output_size are of whole pictures; set predict.tile=null",
        ),
        ({"name": "../x", "model": {"backbone": "b"}}, "name: expected letters, digits, '_', '-' and '.' alone"),
        (
            {"name": "x", "ensemble": {"members": [{"name": "a.b", "backbone": "b"}]}},
            r"members\.0\.name: expected letters, digits, '_' and '-' alone, a letter",
        ),
        ("name: x\n  model: [", r"recipe\.yaml: line 2: not valid YAML"),
        ("just words", r"recipe\.yaml: expected keys like 'name:' and 'model:', found no keys"),
    ],
)
def test_a_wrong_recipe_names_the_file_the_key_and_the_right_one(write, values, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(values))


def test_more_than_three_problems_are_counted(write):
    with pytest.raises(RecipeError, match=r"\(and 1 more\)"):
        load_recipe(write({**MINIMAL, "a": 1, "b": 1, "c": 1, "d": 1}))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "expected key=value"),
        ("train.epochs=[", "'\\[' is not a valid YAML value"),
        ("train.clip=", r"override 'train.clip=': no value; is a variable unset\? \(null for none\)"),
        ("name.x.y=1", "name is a value, it has no keys"),
        ("train.epochs.x.y=1", "there is a value where a section was expected"),
        ("ensemble.members.5.neck=fpn", "expected an index from 0 to 1"),
        ("ensemble.members.swin.neck=fpn", "expected an index from 0 to 1"),
    ],
)
def test_a_wrong_override_is_named(override, message):
    with pytest.raises((UsageError, RecipeError), match=message):
        load_recipe("retina_ensemble", [override])


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UsageError, match="no recipe 'retina_ensembl'; did you mean 'retina_ensemble'"):
        load_recipe("retina_ensembl")
    with pytest.raises(UsageError, match=r"nowhere\.yaml: no such recipe file"):
        load_recipe("nowhere.yaml")


def test_a_binary_file_is_no_recipe(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(RecipeError, match="not a readable text file"):
        load_recipe(tmp_path / "r.yaml")


def test_every_key_that_a_user_can_set_is_in_the_schema():
    schema = Recipe.model_json_schema()
    assert {"name", "data", "model", "ensemble", "loss", "train", "predict"} <= set(schema["properties"])
    assert "epochs" in schema["$defs"]["TrainRecipe"]["properties"]


def test_a_key_that_may_be_of_several_kinds_is_named_once():
    with pytest.raises(
        RecipeError, match=r"train\.freeze: Input should be a valid integer.*, or 'all' or 'colour' \(found 'al'\)$"
    ):
        load_recipe("demo", ["train.freeze=al"])


def test_a_part_without_a_name_says_what_it_has():
    with pytest.raises(RecipeError, match=r"backbone: no name among nmae; write \{name: …, option: value\}"):
        load_recipe("demo", ["ensemble.members.0.backbone={nmae: resnet18}"])
