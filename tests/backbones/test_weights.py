"""Weights: files, names and folded first layers."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from segkit import backbones
from segkit.backbones.weights import fold_channels, our_names, read_weights

SMALL = {"embed_dim": 8, "depths": (1, 1), "heads": (1, 2), "window": 3}


def small(**options):
    return backbones.create("swin", **SMALL, **options)


def test_one_channel_answers_as_grey_shown_in_three():
    weight, grey = torch.randn(4, 3, 2, 2), torch.randn(1, 1, 6, 6)
    folded = torch.nn.functional.conv2d(grey, fold_channels(weight, 1))
    torch.testing.assert_close(folded, torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight))


def test_more_channels_repeat_the_old_ones_and_keep_a_flat_image_s_answer():
    weight = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    assert fold_channels(weight, 5).flatten().tolist() == pytest.approx([0.6, 1.2, 1.8, 0.6, 1.2])
    assert fold_channels(weight, 6).sum() == weight.sum()
    assert fold_channels(weight, 3) is weight


@pytest.mark.parametrize("name", ["swin_tiny", "resnet18"])
def test_published_names_are_all_understood(name):
    build = {"swin_tiny": "swin_t"}.get(name, name)
    with torch.device("meta"):
        peer, backbone = torchvision.models.get_model(build, weights=None), backbones.create(name)
    found = {key: value.shape for key, value in our_names(peer.state_dict()).items()}
    assert backbone.state_dict().keys() <= found.keys()
    assert all(found[key] == value.shape for key, value in backbone.state_dict().items())


@pytest.mark.parametrize("name", [n for n in backbones.names() if n not in ("swin", "stem")])
def test_imagenet_stands_for_torchvisions_default_weights(name, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise ConnectionError(str(self))

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", refuse)
    short = {"swin_tiny": "Swin_T", "swin_small": "Swin_S", "swin_base": "Swin_B"}.get(name)
    with torch.device("meta"), pytest.raises(ConnectionError, match=short or name.replace("resnet", "ResNet")):
        backbones.create(name, weights="imagenet")


def test_imagenet_weights_fold_into_other_channels(monkeypatch):
    peer = torchvision.models.resnet18(weights=None)
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: peer.state_dict())
    grey = backbones.create("resnet18", weights="imagenet", in_channels=1)
    assert torch.equal(grey.stem[0].weight, peer.conv1.weight.sum(1, keepdim=True))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_files_restore_equality(tmp_path, suffix):
    swin, path = small(), tmp_path / f"swin{suffix}"
    save_file(swin.state_dict(), path) if suffix == ".safetensors" else torch.save(swin.state_dict(), path)
    for weights in (path, str(path)):
        restored = small(weights=weights).state_dict()
        assert all(torch.equal(value, restored[key]) for key, value in swin.state_dict().items())


def test_a_training_checkpoint_is_unwrapped(tmp_path):
    torch.save({"model": small().state_dict(), "epoch": 3}, tmp_path / "c.pth")
    assert "layers.0.shrink.project.weight" in read_weights(tmp_path / "c.pth")


def test_pickled_code_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("ran",)

    torch.save(Trap(), tmp_path / "trap.pth")
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        small(weights=tmp_path / "trap.pth")


def test_loading_does_not_alter_the_given_state():
    state = small().state_dict()
    copies = {key: value.clone() for key, value in state.items()}
    small(weights=state, in_channels=1)
    assert all(torch.equal(value, copies[key]) for key, value in state.items())


def test_output_norms_start_afresh_where_the_weights_have_none():
    swin = small(weights=small().state_dict(), out_norm=True)
    assert torch.equal(swin.norms["0"].weight, torch.ones(8))


def test_what_does_not_fit_is_listed():
    state = small().state_dict()
    state["layers.0.blocks.0.attention.bias_table"] = torch.zeros(169, 1)
    state["extra.weight"] = torch.zeros(1)
    del state["layers.1.blocks.0.norm1.bias"]
    with pytest.raises(ValueError, match="the weights don't fit Swin") as error:
        small(weights=state)
    message = str(error.value)
    assert "missing: layers.1.blocks.0.norm1.bias" in message
    assert "unknown: extra.weight" in message
    assert "of another shape: layers.0.blocks.0.attention.bias_table: found (169, 1), needed (25, 1)" in message


def test_a_long_list_is_cut_short():
    with pytest.raises(ValueError, match=r"missing: .* and \d+ more"):
        small(weights={})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("imagenet", "nobody published any for this backbone"),
        ("imagenett", "weights is 'imagenett'; expected 'imagenet' or a .safetensors"),
        ("no/such.safetensors", "no/such.safetensors: no such file of weights"),
    ],
)
def test_weights_that_are_not_there(weights, message):
    with pytest.raises(ValueError, match=message):
        small(weights=weights)


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "c.pth")
    with pytest.raises(ValueError, match=r"c.pth: no state dict in it"):
        small(weights=tmp_path / "c.pth")
