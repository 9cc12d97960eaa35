from pathlib import Path

import pytest


@pytest.fixture
def shared():
    """The folder of real datasets beside the checkout, where there is one."""
    path = Path(__file__).parents[2] / "../shared/data"
    if not path.is_dir():
        pytest.skip("no shared datasets here")
    return path.resolve()
