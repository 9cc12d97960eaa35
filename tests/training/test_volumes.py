"""Training on volumes: from a recipe to masks that lie where they should, with NIfTI and with DICOM."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

import segkit
from segkit.errors import RecipeError
from segkit.medical.synthetic_volumes import draw_study, draw_volumes
from segkit.recipe import PredictRecipe, Recipe
from segkit.suggestion.suggest import suggest
from segkit.training.run import train

STEM = {"name": "stem", "width": 4, "depth": 2}


def recipe_of(*, data=None, **train_):
    return Recipe.model_validate(
        {
            "name": "tiny",
            "model": {"backbone": STEM, "neck": {"name": "unet", "widths": [4]}},
            "data": {"crop": 32, "augment": "light", "window": "abdomen", "channels": 1, **(data or {})},
            "train": {"epochs": 1, "batch": 4, "workers": 0, "precision": "fp32", "ema": 0.5, **train_},
            "predict": {"tile": 32},
        }
    )


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    return draw_volumes(tmp_path_factory.mktemp("volumes") / "bodies", cases=6, shape=(32, 28, 6), spacing=(10, 10, 20))


@pytest.mark.parametrize(
    ("slices", "channels"),
    [
        ({"planes": ["axial"]}, 1),
        ({"planes": ["axial", "coronal"], "neighbours": 1, "spacing": 9.0}, 3),
    ],
)
def test_a_model_of_volumes_is_trained_saved_scored_and_predicts(slices, channels, bodies, tmp_path):
    run = train(recipe_of(data={"slices": slices, "channels": channels}), bodies, out=tmp_path, console=False)
    reader = segkit.load(run.directory / "model").reader
    assert reader.window == (-150, 250)
    assert reader.slices.model_dump(exclude_none=True) == {"neighbours": 0, **slices, "planes": tuple(slices["planes"])}
    assert [image["name"] for image in run.metrics["images"]] == list(segkit.open_dataset(bodies).splits["val"])
    report = segkit.evaluate(run.directory / "model", bodies, errors=tmp_path / "errors")
    tests = segkit.open_dataset(bodies).splits["test"]
    assert [image["name"] for image in report.metrics["images"]] == list(tests)
    predictor = segkit.Predictor(run.directory / "model")
    for name, image in zip(tests, report.metrics["images"], strict=True):
        prediction = predictor.predict(bodies / "images" / f"{name}.nii.gz")
        truth = nibabel.load(bodies / "masks" / f"{name}.nii.gz").get_fdata()
        for label, title in ((1, "liver"), (2, "spleen")):
            both = ((prediction.labels == label) & (truth == label)).sum()
            dice = 2 * both / ((prediction.labels == label).sum() + (truth == label).sum())
            assert image["dice"][title] == pytest.approx(dice)
        assert image["pixels"] == truth.size
        assert (tmp_path / "errors" / f"{name}.png").is_file()
    assert "data:image" in report.page()
    drawn = sorted(path.name for path in (run.directory / "samples").iterdir())
    assert [name[:8] for name in drawn] == list(segkit.open_dataset(bodies).splits["val"])


def test_masks_of_another_reader_are_scored(bodies, tmp_path):
    names = segkit.open_dataset(bodies).splits["test"]
    for name in names:
        shutil.copy(bodies / "masks" / f"{name}.nii.gz", tmp_path / f"{name}_mask.nii.gz")
    report = segkit.evaluate(tmp_path, bodies)
    assert report.metrics["pooled"]["mean_dice"] == 1.0


def test_training_is_taken_up_where_it_was_left(bodies, tmp_path):
    recipe = recipe_of(epochs=2, validate_every=1)
    whole = train(recipe, bodies, out=tmp_path / "whole", console=False)
    again = train(recipe, bodies, out=tmp_path / "again", console=False)
    for name, tensor in whole.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), again.model.state_dict()[name].numpy())


def test_series_and_segmentations_are_a_dataset_too(bodies, tmp_path):
    for number in (1, 2, 3):
        draw_study(tmp_path / "images" / f"p{number}", shape=(32, 28, 6), spacing=(10, 10, 20), number=number)
    (tmp_path / "dataset.yaml").write_text("classes: [background, liver, spleen]\n")
    first = segkit.Predictor(train(recipe_of(), bodies, out=tmp_path / "runs", console=False).model)
    first.predict_files(tmp_path / "images", tmp_path / "out")
    (tmp_path / "masks").mkdir()
    for number, written in enumerate(sorted((tmp_path / "out").rglob("*_mask.dcm")), start=1):
        shutil.copy(written, tmp_path / "masks" / f"p{number}.dcm")
    folder = segkit.open_dataset(tmp_path)
    for name, sample in folder.files.items():
        np.testing.assert_array_equal(folder.cases.mask(sample), first.predict(tmp_path / "images" / name).labels)
    run = train(recipe_of(), tmp_path, out=tmp_path / "more", console=False)
    assert run.metrics["images"][0]["name"] in folder.files


def test_volumes_held_out_of_folds_are_written_as_volumes_and_scored(bodies, tmp_path):
    recipe = recipe_of().model_copy(update={"folds": 2})
    run = train(recipe, bodies, out=tmp_path, console=False)
    folder = segkit.open_dataset(bodies)
    samples = folder.samples("train", "val")
    assert [image["name"] for image in run.metrics["images"]] == [sample.name for sample in samples]
    for sample, image in zip(samples, run.metrics["images"], strict=True):
        mask = nibabel.load(run.directory / "out_of_fold" / f"{sample.name}_mask.nii.gz")
        truth = nibabel.load(sample.mask)
        assert np.allclose(mask.affine, truth.affine)
        labels, ids = mask.get_fdata(), truth.get_fdata()
        dice = 2 * ((labels == 1) & (ids == 1)).sum() / ((labels == 1).sum() + (ids == 1).sum())
        assert image["dice"]["liver"] == pytest.approx(dice)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 2}, "1 channel: 1 in all; the model takes 2"),
        ({"slices": {"neighbours": 1}}, "3 in all; the model takes 1"),
        ({"window": None}, r"values run from -?\d+ to \d+.*set the window"),
    ],
)
def test_recipes_that_do_not_fit_volumes(changes, message, bodies, tmp_path):
    with pytest.raises(segkit.errors.DataError, match=message):
        train(recipe_of(data=changes), bodies, out=tmp_path, console=False)


def test_slices_are_for_volumes(workplace, tmp_path):
    with pytest.raises(RecipeError, match=r"data\.slices is for volumes"):
        train(recipe_of(data={"slices": {}, "window": None, "channels": 3}), "cells", out=tmp_path, console=False)


def test_a_suggested_recipe_for_volumes(bodies, monkeypatch):
    monkeypatch.setattr("segkit.suggestion.suggest.crops_per_second", lambda *_, **__: 20.0)
    suggestion = suggest(bodies, hours=0.1)
    volumes = suggestion.facts.volumes
    assert volumes.spacing == pytest.approx((10, 10, 20), rel=1e-3)
    assert volumes.planes == ("axial",)
    assert volumes.window[0] < 45 < 125 < volumes.window[1]
    assert "slices of other planes would be strips of thick voxels" in suggestion.text
    assert "Hounsfield units in which what is looked for lies" in suggestion.text


def test_isotropic_volumes_are_looked_at_in_every_plane(tmp_path, monkeypatch):
    monkeypatch.setattr("segkit.suggestion.suggest.crops_per_second", lambda *_, **__: 20.0)
    folder = draw_volumes(tmp_path, cases=3, shape=(16, 14, 12), spacing=(10, 10, 12))
    text = suggest(folder, hours=0.1).text
    assert "planes: [axial, coronal, sagittal]" in text


def test_volumes_that_do_not_say_how_large_their_voxels_are(bodies, tmp_path):
    data = Path(shutil.copytree(bodies, tmp_path / "bodies"))
    for file in (*(data / "images").iterdir(), *(data / "masks").iterdir()):
        values = np.asarray(nibabel.load(file).dataobj)
        file.unlink()
        tifffile.imwrite(file.with_name(file.name.replace(".nii.gz", ".tif")), np.ascontiguousarray(values.T))
    recipe = recipe_of(data={"slices": {"planes": ["axial"], "spacing": 9.0}})
    steps = recipe.model_copy(update={"predict": PredictRecipe.model_validate({"postprocess": {"smallest": "9 mm3"}})})
    with pytest.raises(RecipeError, match=r"sizes in mm, but nothing says how large the voxels of .*\.tif are; give"):
        train(steps, data, out=tmp_path, console=False)
    run = train(recipe, data, out=tmp_path, console=False)
    silent = len(segkit.open_dataset(data).splits["train"])
    expected = f"{silent} of {silent} volumes don't say how large their voxels are; their slices are taken as they are"
    assert expected in (run.directory / "log.txt").read_text()
    outcomes = segkit.Predictor(run.model).predict_files(next((data / "images").iterdir()), tmp_path / "masks")
    assert "slices are taken as they are, for 9 mm a pixel: nothing says how large the voxels are" in outcomes[0].notes
