from types import SimpleNamespace

import numpy as np
import pytest

from segkit.cli.options import print_json, settings
from segkit.errors import ModelError

UNTOLD = {"tile": None, "overlap": None, "tta": None, "threshold": None, "precision": None}
DEFAULTS = {"tile": 512, "overlap": 0.5, "tta": None, "threshold": 0.5, "precision": "auto"}


def test_without_anything_said_the_recipes_defaults_hold():
    assert settings(SimpleNamespace(about={}), **UNTOLD) == DEFAULTS
    assert settings("masks", **UNTOLD) == DEFAULTS


def test_what_is_kept_with_the_model_comes_before_the_defaults_and_options_before_both():
    model = SimpleNamespace(about={"predict": {"tile": 256, "tta": "flip", "threshold": 0.3}})
    assert settings(model, **UNTOLD) == DEFAULTS | {"tile": 256, "tta": "flip", "threshold": 0.3}
    told = settings(model, **UNTOLD | {"tile": 0, "tta": "none", "overlap": 0.0})
    assert told == DEFAULTS | {"tile": None, "tta": None, "threshold": 0.3, "overlap": 0.0}


def test_damaged_settings_are_the_models_fault():
    with pytest.raises(ModelError, match="settings kept with the model are damaged"):
        settings(SimpleNamespace(about={"predict": {"tile": "large"}}), **UNTOLD)


def test_json_has_null_for_what_is_no_number(capsys):
    print_json({"a": float("nan"), "b": np.float32(0.5), "c": (1, None)})
    assert capsys.readouterr().out == '{\n  "a": null,\n  "b": 0.5,\n  "c": [\n    1,\n    null\n  ]\n}\n'
