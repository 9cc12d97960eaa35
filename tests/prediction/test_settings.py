from types import SimpleNamespace

import pytest

from segkit.errors import ModelError
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
