"""Recipes fitted to datasets: what is chosen, why, and that it trains."""

import dataclasses

import pytest
import torch
import yaml

from segkit.cli.main import main
from segkit.data.folder import open_dataset
from segkit.data.synthetic import draw_cells
from segkit.errors import DataError, UsageError
from segkit.recipe import DataRecipe, Recipe
from segkit.recipe_file import load_recipe
from segkit.suggestion import speed
from segkit.suggestion import suggest as module
from segkit.suggestion.choices import choose
from segkit.suggestion.facts import Facts
from segkit.suggestion.suggest import suggest
from segkit.suggestion.text import to_yaml
from segkit.suggestion.volume_facts import VolumeFacts

VESSELS = Facts(
    pictures=20,
    median=(584, 565),
    grey=False,
    channels=3,
    type="uint8",
    window=None,
    shares=(0.875, 0.125),
    background=0,
    width=4.3,
    upright=False,
    sided=False,
    blank_outside=True,
)
SPLITS = {"train": 16, "val": 4, "test": 20}


def recipe_of(facts=VESSELS, *, speed=10.0, minutes=60.0, task="binary", splits=SPLITS):
    choices = choose(facts, task=task, splits=splits, device="cpu", minutes=minutes, speed=lambda *_: speed)
    text = to_yaml("name", "data", choices, ["What it is."])
    return Recipe.model_validate(yaml.safe_load(text)), text


def changed(**facts):
    return recipe_of(dataclasses.replace(VESSELS, **facts))[0]


def test_the_minutes_are_filled_with_epochs():
    # Two networks at 10 crops a second share 95 % of 60 minutes, less 15 seconds: 17,025 crops each.
    recipe, _ = recipe_of()
    per_epoch = 20 * recipe.data.crops_per_image
    assert recipe.train.epochs == round(17025 / per_epoch)
    assert [member.name for member in recipe.ensemble.members] == ["unet", "attention_unet"]


def test_the_minutes_are_not_exceeded_where_there_are_many_pictures():
    many = dataclasses.replace(VESSELS, pictures=3000, median=(2048, 2048))
    recipe, text = recipe_of(many)
    assert recipe.train.epochs * recipe.data.crops_per_image * 3000 <= 34_050  # one network's, at 10 crops a second
    assert recipe.data.crops_per_image == 1 or recipe.train.epochs >= 4
    assert "crops, of 3,000 pictures" in text


def test_few_minutes_are_for_one_network():
    recipe, text = recipe_of(minutes=4)
    assert recipe.train.epochs == round((4 * 60 * 0.95 - 15) * 10 / (20 * recipe.data.crops_per_image))
    assert "model:  # one fast network: two large ones would see only 1,065 crops each in the minutes\n" in text


def test_thin_things_get_maps_at_full_resolution():
    few, _ = recipe_of(minutes=4)
    for model in [few.model, *changed(width=4.3).ensemble.members]:
        assert model.backbone.model_dump() == {"name": "stem", "width": 24, "depth": 5}
        assert model.neck.model_dump()["widths"] == [24, 48, 96, 192]


def test_other_things_get_a_deep_backbone():
    members = changed(width=40.0).ensemble.members
    assert [(member.name, member.stem) for member in members] == [("swin_fpn", False), ("resnet50_unet", False)]
    coarse, _ = recipe_of(dataclasses.replace(VESSELS, width=40.0), minutes=4)
    assert coarse.model.backbone.name == "resnet18"
    assert coarse.model.neck.model_dump()["widths"] == [32, 48, 64, 128]


def test_augmentation_is_light_until_every_pixel_has_been_seen_often():
    def names(recipe):
        return {name: parameters for item in recipe.data.augment for name, parameters in item.items()}

    light, text = recipe_of(minutes=60)  # 17,025 crops of 256² over 20 pictures of 565×584
    assert "any way up; every pixel seen 169 times: light\n" in text
    assert names(light)["Affine"]["rotate"] == [-15, 15]
    assert "GaussNoise" not in names(light)
    strong, text = recipe_of(minutes=120)
    assert "any way up; every pixel seen 339 times: strong\n" in text
    assert names(strong)["Affine"]["rotate"] == [-180, 180]
    assert "GaussNoise" in names(strong)


def test_batches_are_larger_where_batch_normalisation_needs_them():
    assert recipe_of()[0].train.batch == 4  # Swin learns more from many small updates
    assert recipe_of(minutes=4)[0].train.batch == 8


@pytest.mark.parametrize(("median", "crop"), [((584, 565), 256), ((256, 256), 224), ((208, 352), 192), ((30, 30), 32)])
def test_crops_are_a_multiple_of_32_that_leaves_room_to_move(median, crop):
    assert changed(median=median).data.crop == crop


def test_grey_pictures_are_one_channel_and_not_coloured():
    data = changed(grey=True, channels=1).data
    assert data.channels == 1
    assert not any("HueSaturationValue" in transform for transform in data.augment)


def test_channels_of_volumes_are_no_colours():
    volumes = VolumeFacts(cases=5, channels=3, spacing=(1, 1, 3), unlike=False, window=None)
    data = changed(volumes=volumes, window="picture").data
    assert data.channels == 9
    assert not any("HueSaturationValue" in transform for transform in data.augment)


@pytest.mark.parametrize("name", ["2024", "on", "null", "12_3", "1e5", "0x1f", "2024-01-05"])
def test_names_that_yaml_would_take_for_something_else_are_quoted(name):
    choices = choose(VESSELS, task="binary", splits=SPLITS, device="cpu", minutes=60, speed=lambda *_: 10)
    text = to_yaml(name, name, choices, ["For Line 1\nLine 2: 3 pictures."])
    recipe = Recipe.model_validate(yaml.safe_load(text))
    assert (recipe.name, recipe.data.path) == (name, name)


def test_pictures_with_a_way_up_are_not_turned_over():
    transforms = {name: parameters for item in changed(upright=True).data.augment for name, parameters in item.items()}
    assert "HorizontalFlip" in transforms
    assert "VerticalFlip" not in transforms
    assert transforms["Affine"]["rotate"] == [-10, 10]


def test_only_views_of_a_kind_that_was_trained_on_are_averaged():
    assert changed().predict.tta == "flip"
    assert changed(upright=True).predict.tta == "mirror"
    assert changed(upright=True, sided=True).predict.tta is None
    assert changed(sided=True).predict.tta is None


def test_intensities_of_16_bits_get_a_window():
    data = changed(type="uint16", window=(1000.4, 4000.8)).data
    assert data.window == (1000.4, 4000.8)


def test_pictures_of_unlike_ranges_are_each_stretched():
    recipe, text = recipe_of(dataclasses.replace(VESSELS, window="picture"))
    assert recipe.data.window == "picture"
    assert "each picture's own becomes 0 to 1" in text


def test_what_is_blank_outside_is_learnt():
    assert changed(blank_outside=True).data.inside_roi is False
    assert changed(blank_outside=False).data.inside_roi is True
    assert changed(blank_outside=None).data.inside_roi is True


def test_rare_classes_weigh_more_where_all_classes_count():
    facts = dataclasses.replace(VESSELS, shares=(0.64, 0.35, 0.01), background=None)
    recipe, text = recipe_of(facts, task="multiclass")
    first, second, third = recipe.class_weights
    assert third / first == pytest.approx(8, rel=2e-3)  # √(0.64 / 0.01)
    assert 0.64 * first + 0.35 * second + 0.01 * third == pytest.approx(1, abs=2e-3)
    assert "one over the root of a class's share" in text


def test_beside_a_background_rare_classes_are_sought_but_weigh_no_more():
    facts = dataclasses.replace(VESSELS, shares=(0.89, 0.1, 0.01))
    recipe, text = recipe_of(facts, task="multiclass")
    assert recipe.class_weights is None
    assert "weights would draw rare classes too large" in text
    assert recipe.data.foreground == 0.33
    assert changed().data.foreground == 0


def test_val_is_trained_on_only_where_there_is_a_test_split():
    assert recipe_of()[0].data.train_on == ["train", "val"]
    without, _ = recipe_of(splits={"train": 16, "val": 4})
    assert (without.data.train_on, without.data.validate_on) == (["train"], "val")
    alone, _ = recipe_of(splits={"train": 16})
    assert alone.data.validate_on is None


def test_pictures_that_fit_are_predicted_in_one_piece():
    assert changed().predict.tile == 768 > max(VESSELS.median)  # a larger picture among them is cut
    assert changed(median=(2000, 3000)).predict.tile == 384


def test_a_suggestion_names_its_reasons_and_reads_back(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "crops_per_second", lambda *_, **__: 20.0)
    data = draw_cells(tmp_path / "cells", images=8, size=64, splits=(0.5, 0.25, 0.25))
    suggestion = suggest(data, hours=0.05)
    assert "# For cells: 6 pictures to train on, 64×64 uint8, binary.\n" in suggestion.text
    assert "# Depth (0.1mm) is there for 6 of 6 pictures and isn't used here: 'depth: resnet18'" in suggestion.text
    assert "epochs: " in suggestion.text
    assert "# 3 minutes at the speed measured here: 3,120 crops\n" in suggestion.text
    recipe = suggestion.save(tmp_path / "cells.yaml")
    assert recipe == load_recipe(tmp_path / "cells.yaml")
    assert recipe.data.path == str(data)


def test_a_suggested_recipe_trains_unchanged(tmp_path):
    from segkit.training.run import train

    data = draw_cells(tmp_path / "cells", images=4, size=40, splits=(0.5, 0.25, 0.25))
    suggestion = suggest(data, hours=1e-4)
    suggestion.save(tmp_path / "cells.yaml")
    overrides = ["model.backbone=stem", "model.stem=false", "model.neck=unet", "train.epochs=1", "train.workers=0"]
    run = train(tmp_path / "cells.yaml", overrides=overrides, out=tmp_path / "runs", console=False)
    assert (run.directory / "model" / "segkit.json").is_file()


def test_errors(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "crops_per_second", lambda *_, **__: 20.0)
    data = draw_cells(tmp_path / "cells", images=4, size=40, splits=(0.5, 0.25, 0.25))
    for hours in (0, float("inf"), float("nan"), 9000):
        with pytest.raises(UsageError, match=rf"hours is {hours:g}; expected a number above 0, up to 8,784"):
            suggest(data, hours=hours)
    suggestion = suggest(data)
    with pytest.raises(UsageError, match=r"cells.txt: a recipe's name ends in .yaml"):
        suggestion.save(tmp_path / "cells.txt")
    (tmp_path / "cells.yaml").touch()
    with pytest.raises(UsageError, match=r"cells.yaml: there already; choose another name with -o, or say --overwrite"):
        suggestion.save(tmp_path / "cells.yaml")
    with pytest.raises(UsageError, match=r"cells/x.yaml: can't be written"):
        suggestion.save(tmp_path / "cells.yaml" / "cells" / "x.yaml")
    description = yaml.safe_load((data / "dataset.yaml").read_text())
    description["splits"]["train"] = []
    (data / "dataset.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(DataError, match="no split 'train' with pictures in it"):
        suggest(data)


@pytest.mark.parametrize(("cut", "crops"), [(40.0, 3120), (5.0, 780)])
def test_on_a_gpu_the_slower_of_training_and_reading_fills_the_minutes(cut, crops, tmp_path, monkeypatch):
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(module.torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(module, "fastest", lambda _: "bf16")
    monkeypatch.setattr(module, "crops_per_second", lambda *_, **__: 20.0)
    monkeypatch.setattr(module, "crops_cut_per_second", lambda *_, held, **__: cut if held else 0.0)
    data = draw_cells(tmp_path / "cells", images=8, size=64, splits=(0.5, 0.25, 0.25))
    assert f"3 minutes at the speed measured here: {crops:,} crops" in suggest(data, hours=0.05).text


def test_reading_is_timed_on_whole_items(tmp_path, monkeypatch):
    folder = open_dataset(draw_cells(tmp_path / "cells", images=8, size=64, splits=(0.5, 0.25, 0.25)))
    clock = iter([100.0, 102.0])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(speed, "loader_workers", lambda *_: 3)
    samples = folder.samples("train", "val")
    data = DataRecipe(crop=32)
    found = speed.crops_cut_per_second(folder, samples, data, held=True, device=torch.device("cpu"))
    assert found == 4 * len(samples) / 2 * 3


def test_where_no_recipe_can_be_written_nothing_is_measured(workplace, monkeypatch, capsys):
    monkeypatch.setattr("segkit.suggestion.suggest.suggest", lambda *_, **__: pytest.fail("measured"))
    (workplace / "cells.yaml").write_text("mine")
    for command, message in (
        ("init cells -o cells.txt", "cells.txt: a recipe's name ends in .yaml"),
        ("init cells", "cells.yaml: there already; choose another name with -o, or say --overwrite"),
    ):
        assert main(command.split()) == 2
        assert capsys.readouterr().err == f"error: {message}\n"
