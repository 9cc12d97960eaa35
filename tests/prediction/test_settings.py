from types import SimpleNamespace

import numpy as np
import pytest

from segkit.errors import ModelError, UsageError
from segkit.postprocessing.settings import Postprocessing
from segkit.prediction.settings import kept_settings, settings_for

DEFAULTS = {"tile": 512, "overlap": 0.5, "tta": None, "threshold": 0.5, "precision": "auto", "postprocess": None}


def test_without_anything_kept_the_recipes_defaults_hold():
    assert kept_settings(SimpleNamespace(about={})).model_dump() == DEFAULTS
    assert kept_settings("no model").model_dump() == DEFAULTS


def test_what_is_kept_comes_before_the_defaults_and_what_is_given_before_both():
    model = SimpleNamespace(about={"predict": {"tile": 256, "tta": "flip", "threshold": 0.3}})
    kept = DEFAULTS | {"tile": 256, "tta": "flip", "threshold": 0.3}
    assert settings_for(model).model_dump() == kept
    given = {"tile": None, "tta": None, "overlap": 0.0}
    assert settings_for(model, **given).model_dump() == kept | given


@pytest.mark.parametrize("damaged", [{"tile": "large"}, {"tiles": 512}, None, [512]])
def test_damaged_settings_are_the_models_fault(damaged):
    with pytest.raises(ModelError, match="settings kept with the model are damaged"):
        kept_settings(SimpleNamespace(about={"predict": damaged}))


@pytest.mark.parametrize("threshold", ["0.5", None, [0.5], np.array([0.5, 0.5]), True, 1.5, float("nan")])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(UsageError, match=r"^threshold=.*: expected a probability, 0\.\.1$"):
        settings_for(SimpleNamespace(), threshold=threshold)
    assert settings_for(SimpleNamespace(), threshold=np.float32(0.25)).threshold == 0.25


def test_postprocessing_may_be_as_a_recipe_has_it():
    given = {"largest": True, "smallest": {"cell": "20 px"}}
    assert settings_for(SimpleNamespace(), postprocess=given).postprocess == Postprocessing(**given)
    assert settings_for(SimpleNamespace(), postprocess=None).postprocess is None


@pytest.mark.parametrize(
    ("given", "where"),
    [({"largest": 1}, "postprocess.largest"), ({"large": True}, "postprocess.large"), ("x", "postprocess")],
)
def test_what_is_no_postprocessing_is_one_line(given, where):
    with pytest.raises(UsageError, match=rf"^{where}: .*; expected what a recipe has under predict\.postprocess$"):
        settings_for(SimpleNamespace(), postprocess=given)
