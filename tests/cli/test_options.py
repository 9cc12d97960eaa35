import numpy as np

from segkit.cli.options import print_json, told


def test_only_options_that_were_given_are_told():
    assert told(tile=None, overlap=None, tta=None, threshold=None, precision=None) == {}
    assert told(tile=256, overlap=0.0, tta="flip") == {"tile": 256, "overlap": 0.0, "tta": "flip"}


def test_zero_is_one_piece_and_none_is_no_flips():
    assert told(tile=0, tta="none", threshold=0.3) == {"tile": None, "tta": None, "threshold": 0.3}


def test_json_has_null_for_what_is_no_number(capsys):
    print_json({"a": float("nan"), "b": np.float32(0.5), "c": (1, None)})
    assert capsys.readouterr().out == '{\n  "a": null,\n  "b": 0.5,\n  "c": [\n    1,\n    null\n  ]\n}\n'
