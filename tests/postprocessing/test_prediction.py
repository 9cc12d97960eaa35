"""What is kept with a model is done to its predictions, and scored."""

import shutil

import cv2
import numpy as np
import pytest
import tifffile

import segkit
from segkit.data.masks import read_values
from segkit.errors import ModelError, RecipeError
from segkit.postprocessing.settings import Postprocessing
from segkit.postprocessing.steps import postprocess
from segkit.prediction.fingerprint import fingerprint
from segkit.trusting.verdict import settings_of

BINARY = {"task": "binary", "classes": ("background", "cell"), "background": 0}
STEPS = {"smoothing": "0.5 px", "thresholds": {"cell": 0.4}, "largest": True, "smallest": "3 px", "holes": True}


def expected(prediction, **settings):
    """The same done to a prediction that nothing was done to."""
    return postprocess(prediction.probabilities, prediction.labels, settings=Postprocessing(**settings), **BINARY)


def test_predictions_are_postprocessed(model, discs):
    picture = discs / "images" / "d00.png"
    raw = segkit.Predictor(model()).predict(picture)
    found = segkit.Predictor(model(postprocess=STEPS)).predict(picture)
    assert (found.labels != raw.labels).any()
    np.testing.assert_array_equal(found.labels, expected(raw, **STEPS))
    np.testing.assert_array_equal(found.probabilities, raw.probabilities)
    plain = segkit.Predictor(model(postprocess=STEPS), postprocess=None).predict(picture)
    np.testing.assert_array_equal(plain.labels, raw.labels)
    given = segkit.Predictor(model(), postprocess=Postprocessing(**STEPS)).predict(picture)
    np.testing.assert_array_equal(given.labels, found.labels)


def test_files_are_rewritten(model, discs, tmp_path, monkeypatch):
    monkeypatch.setattr("segkit.postprocessing.strips.PIXELS", 100)
    predictor = segkit.Predictor(model(postprocess=STEPS))
    held = predictor.predict(discs / "images" / "d00.png")
    found = predictor.predict(discs / "images" / "d00.png", out=tmp_path)
    assert isinstance(found.labels, np.memmap)
    np.testing.assert_array_equal(found.labels, held.labels)
    np.testing.assert_array_equal(np.load(tmp_path / "d00_labels.npy"), held.labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"d00_{name}.npy" for name in ("entropy", "labels", "probabilities")
    ]


def test_a_threshold_that_is_given_goes_before_those_kept(model, discs):
    picture = discs / "images" / "d00.png"
    raw = segkit.Predictor(model()).predict(picture, threshold=0.95)
    steps = {"thresholds": 0.05, "largest": True}
    found = segkit.Predictor(model(postprocess=steps)).predict(picture, threshold=0.95)
    np.testing.assert_array_equal(found.labels, expected(raw, largest=True))
    assert segkit.Predictor(model(postprocess=steps)).predict(picture).labels.all()


def test_written_masks_and_what_an_earlier_run_did(model, discs, tmp_path):
    images = discs / "images"
    raw, done = segkit.Predictor(model()), segkit.Predictor(model(postprocess={"thresholds": 0.05, "largest": True}))
    raw.predict_files(images, tmp_path)
    assert not any(outcome.kept for outcome in done.predict_files(images, tmp_path, resume=True))
    np.testing.assert_array_equal(read_values(tmp_path / "d00_mask.png"), done.predict(images / "d00.png").labels)
    assert all(outcome.kept for outcome in done.predict_files(images, tmp_path, resume=True))
    done.predict_files(images, tmp_path, resume=True, threshold=0.5)
    np.testing.assert_array_equal(
        read_values(tmp_path / "d00_mask.png"), done.predict(images / "d00.png", threshold=0.5).labels
    )


def test_fingerprints_tell_steps_apart(model):
    own = model()

    def of(threshold="kept", **steps):
        return fingerprint(segkit.Predictor(own, postprocess=Postprocessing(**steps)), threshold=threshold, kinds=())

    assert len({of(), of(largest=True), of(holes=True), of(thresholds=0.4)}) == 4
    assert of(0.5, thresholds=0.4) == of() == fingerprint(segkit.Predictor(own), threshold="kept", kinds=())


def test_scores_are_of_what_is_predicted(model, discs):
    raw = segkit.evaluate(model(), discs).metrics
    steps = {"largest": True, "holes": True}
    report = segkit.evaluate(model(postprocess=steps), discs)
    assert raw["pooled"]["per_class"]["cell"]["dice"] < 1
    assert report.metrics["pooled"]["per_class"]["cell"]["dice"] == 1
    assert report.metrics["calibration"] == raw["calibration"]
    assert "; then largest every class; holes every class all\n" in report.table()
    smoothed = segkit.evaluate(model(postprocess={"smoothing": "2 px", "thresholds": 0.7}), discs).metrics
    predictor = segkit.Predictor(model(postprocess={"smoothing": "2 px", "thresholds": 0.7}))
    pixels = sum(int(predictor.predict(discs / "images" / f"{name}.png").labels.sum()) for name in ("d12", "d13"))
    scores = smoothed["pooled"]["per_class"]["cell"]
    assert scores["recall"] * scores["support"] / scores["precision"] == pytest.approx(pixels)


def test_at_other_thresholds_the_other_steps_stay(model, discs):
    steps = {"thresholds": 0.02, "largest": True, "holes": True}
    assert segkit.evaluate(model(postprocess=steps), discs).metrics["pooled"]["per_class"]["cell"]["dice"] < 0.5
    given = segkit.evaluate(model(postprocess=steps), discs, threshold=0.5, threshold_from="val").metrics
    assert given["pooled"]["per_class"]["cell"]["dice"] == 1
    assert given["chosen_threshold"]["pooled"]["per_class"]["cell"]["dice"] == 1


def test_members_are_scored_as_they_are(model, discs):
    ensemble = segkit.Ensemble([model(), model()], names=["one", "two"])
    ensemble.about = {"predict": {"precision": "fp32", "postprocess": {"largest": True, "holes": True}}}
    report = segkit.evaluate(ensemble, discs)
    assert report.metrics["pooled"]["per_class"]["cell"]["dice"] == 1
    assert report.members["one"]["pooled"]["per_class"]["cell"]["dice"] < 1


def test_a_judge_is_of_the_masks_that_it_was_taught_with(model, discs):
    own = model()
    segkit.trust(own, discs, good=0.5, risk=0.4)
    assert segkit.Predictor(own).judge is not None
    own.about["predict"]["postprocess"] = {"largest": True}
    predictor = segkit.Predictor(own)
    assert predictor.unjudged == "it was taught with postprocess=None, not {'largest': ['*']}"
    segkit.trust(own, discs, good=0.5, risk=0.4)
    predictor = segkit.Predictor(own)
    assert predictor.judge.settings["postprocess"] == {"largest": ["*"]}
    assert predictor.predict(discs / "images" / "d00.png").trust is not None
    del own.about["trust"]["settings"]["postprocess"]  # taught before there were such steps
    assert segkit.Predictor(own).judge is None
    assert "postprocess" in settings_of(segkit.prediction.settings.kept_settings(own))


def test_what_can_not_be_done_is_said(model, discs):
    with pytest.raises(RecipeError, match=r"predict\.postprocess\.largest: no foreground class 'disc'"):
        segkit.Predictor(model(postprocess={"largest": ["disc"]}))
    with pytest.raises(ModelError, match=r"the settings kept with the model are damaged: .*expected a number above 0"):
        segkit.Predictor(model(postprocess={"smallest": "many"}))
    predictor = segkit.Predictor(model(postprocess={"smallest": "5 mm2"}))
    with pytest.raises(RecipeError, match="smallest: 5 mm2, but nothing says how large this image's pixels are"):
        predictor.predict(discs / "images" / "d00.png")
    outcomes = predictor.predict_files(discs / "images", discs.parent / "none")
    assert all("smallest: 5 mm2, but nothing says" in outcome.error for outcome in outcomes)


def test_pictures_at_a_resolution_have_an_area(model, discs):
    own = model(postprocess={"smallest": "0.03 mm2"})
    own.reader = own.reader.model_copy(update={"mpp": 10.0})  # 300 pixels
    assert segkit.Predictor(own).predict(discs / "images" / "d00.png").labels.sum() > 300
    own.about["predict"]["postprocess"] = {"smallest": "0.05 mm2"}
    assert segkit.Predictor(own).predict(discs / "images" / "d00.png").labels.sum() == 0


def test_sizes_in_mm_are_those_of_the_files_everywhere(model, discs, tmp_path):
    data = tmp_path / "tiffs"
    shutil.copytree(discs, data)
    for file in (data / "images").iterdir():
        image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        file.unlink()
        options = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}  # a micron a pixel
        tifffile.imwrite(file.with_suffix(".tif"), image, photometric="rgb", **options)
    for size, found in (("0.0003 mm2", True), ("0.0005 mm2", False)):  # 300 and 500 pixels
        own = model(postprocess={"smallest": size})
        assert bool(segkit.Predictor(own).predict(data / "images" / "d00.tif").labels.any()) is found
        cell = segkit.evaluate(own, data).metrics["pooled"]["per_class"]["cell"]
        assert (cell["recall"] > 0) is found


def test_no_steps_are_left_where_a_threshold_takes_the_place_of_theirs(model):
    predictor = segkit.Predictor(model(postprocess={"thresholds": 0.7}))
    assert predictor.labelling().steps is not None
    assert predictor.labelling(0.4).steps is None


def test_training_refuses_a_class_that_is_not_there(workplace):
    with pytest.raises(RecipeError, match="holes: no foreground class 'nucleus'; there are: cell"):
        segkit.train("small.yaml", "cells", ["predict.postprocess={holes: {nucleus: true}}"], console=False)


def test_a_model_is_trained_and_scored_with_its_steps(workplace):
    run = segkit.train("small.yaml", "cells", ["predict.postprocess={thresholds: 0.001}"], console=False)
    assert run.model.about["predict"]["postprocess"]["thresholds"] == {"*": 0.001}
    cell = run.metrics["pooled"]["per_class"]["cell"]
    assert cell["recall"] == 1  # whatever the training left: everything is a cell
    loaded = segkit.load(run.directory / "model")
    assert segkit.Predictor(loaded).postprocess == Postprocessing(thresholds=0.001)
