"""Volumes are postprocessed in three dimensions, by their spacing, wherever they are predicted or scored."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import yaml

import segkit
from segkit.choosing.run import fit_postprocessing
from segkit.data.reader import Reader
from segkit.errors import RecipeError
from segkit.medical.reading import read_volume
from segkit.postprocessing.settings import Postprocessing

SHAPE = (14, 16, 12)
SPACING = (2.0, 1.0, 3.0)


@pytest.fixture(scope="module")
def balls(tmp_path_factory):
    """Volumes of a ball that is hollow, joined in three dimensions alone, and of a block beside it that is no ball."""
    folder = tmp_path_factory.mktemp("volumes") / "balls"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    names = [f"v{number}" for number in range(7)]
    for number, name in enumerate(names):
        grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
        mask = (np.linalg.norm(grid - (5, 6, 5), axis=-1) < 4.5).astype(np.uint8)
        values = 30 + 200 * mask
        values[4:7, 5:8, 4:7] = 30
        values[12:, 12:, 9 - number % 2 :] = 230
        affine = np.diag([*SPACING, 1.0])
        nibabel.save(nibabel.Nifti1Image(values.astype(np.uint8), affine), folder / "images" / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "masks" / f"{name}.nii.gz")
    facts = {"name": "balls", "classes": ["background", "cell"], "splits": {"val": names[:5], "test": names[5:]}}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(facts))
    return folder


@pytest.fixture
def of_volumes(model):
    def build(**predict):
        found = model(**predict)
        found.reader = Reader(channels=1, window=(0, 255))
        return found

    return build


def test_predictions_of_volumes(of_volumes, balls):
    volume = read_volume(balls / "images" / "v0.nii.gz")
    truth = nibabel.load(balls / "masks" / "v0.nii.gz").get_fdata()
    raw = segkit.Predictor(of_volumes()).predict(volume)
    both = segkit.Predictor(of_volumes(postprocess={"largest": True, "holes": True})).predict(volume)
    np.testing.assert_array_equal(both.labels, truth)
    part = segkit.Predictor(of_volumes(postprocess={"smallest": "289 mm3"})).predict(volume)
    assert raw.labels.sum() - part.labels.sum() == 2 * 4 * 3  # 24 voxels of 6 mm³ are less than 289
    whole = segkit.Predictor(of_volumes(postprocess={"smallest": "144 mm3"})).predict(volume)
    np.testing.assert_array_equal(whole.labels, raw.labels)


def test_a_volume_that_does_not_say_its_spacing(of_volumes, balls):
    volume = replace(read_volume(balls / "images" / "v0.nii.gz"), spaced=False)
    predictor = segkit.Predictor(of_volumes(postprocess={"smallest": "289 mm3"}))
    with pytest.raises(RecipeError, match="smallest: 289 mm3, but nothing says how large this image's pixels are"):
        predictor.predict(volume)


def test_scores_of_volumes(of_volumes, balls):
    raw = segkit.evaluate(of_volumes(), balls).metrics["pooled"]["per_class"]["cell"]
    steps = {"smoothing": "0.1 mm", "smallest": "289 mm3", "holes": "162 mm3"}
    found = segkit.evaluate(of_volumes(postprocess=steps), balls).metrics["pooled"]["per_class"]["cell"]
    assert raw["dice"] < 0.95
    assert found["dice"] == 1


def test_steps_are_chosen_on_volumes(of_volumes, balls):
    own = of_volumes()
    found = fit_postprocessing(own, balls)
    assert own.about["postprocessed_on"]["pictures"] == 5
    assert found.choice.settings != Postprocessing()
    assert all("px" not in trial.value for trial in found.choice.trials)
    assert "cell" in found.choice.settings.largest
    after = segkit.evaluate(own, balls, "val").metrics["mean_over_images"]["per_class"]["cell"]["dice"]
    assert after == pytest.approx(found.choice.after["cell"])
    assert after > 0.95
