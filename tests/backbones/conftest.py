"""What the tests of backbones share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    """Nothing is downloaded."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def assert_same_interior():
    """Compare two networks' maps away from borders, where their paddings differ."""

    def check(ours, theirs, *, shift, margin):
        """Our map at [y, x] is theirs at [y + shift, x + shift], except within ``margin`` pixels of a border."""
        rows, columns = (min(a, b - shift) for a, b in zip(ours.shape[2:], theirs.shape[2:], strict=True))
        part = ours[..., margin : rows - margin, margin : columns - margin]
        theirs = theirs[..., margin + shift : rows - margin + shift, margin + shift : columns - margin + shift]
        assert part.numel() > 0
        assert part.std() > 0
        torch.testing.assert_close(part, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())

    return check
