import subprocess
import sys

import pytest

import segkit


def test_every_public_name_is_there():
    for name in segkit.__all__:
        assert getattr(segkit, name) is not None


def test_an_unknown_name_lists_the_right_ones():
    with pytest.raises(AttributeError, match=r"no attribute 'Segmentr'; it has .*Segmenter"):
        segkit.Segmentr  # noqa: B018 - looking the name up is the test


def test_importing_segkit_and_its_recipes_does_not_import_torch():
    code = "import sys, segkit, segkit.recipe, segkit.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
