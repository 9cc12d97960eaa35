"""Downloads by other libraries where the hub is out of reach."""

import huggingface_hub
import pytest
from huggingface_hub import hf_hub_download

from segkit import backbones
from segkit.backbones import hub


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """No network; what is asked of it."""
    asked = []

    class Session:
        def head(self, url, timeout):
            asked.append((url, timeout))
            raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return asked


def test_the_hub_is_asked_once_and_told_of_in_one_line(asked, caplog):
    message = r"^the Hugging Face hub is out of reach, and they were not downloaded before$"
    with pytest.raises(OSError, match=message), hub.one_attempt():
        hf_hub_download("timm/resnet18.a1_in1k", "model.safetensors", cache_dir="none")
    assert asked == [(huggingface_hub.constants.ENDPOINT, hub.WAIT)]
    assert not huggingface_hub.constants.HF_HUB_OFFLINE
    assert not caplog.records


@pytest.mark.parametrize("name", ["timm:resnet18", "smp:resnet18"])
def test_networks_of_other_libraries_say_what_can_be_done(name, asked):
    with pytest.raises(
        ValueError, match=f"'{name}' can't be built: the Hugging Face hub is out of reach.*weights=PATH$"
    ):
        backbones.create(name, weights="imagenet")
    assert len(asked) == 1
