"""State dicts by name."""

from contextlib import suppress

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from segkit import backbones
from segkit.backbones.weight_sources import read_weights

SMALL = {"embed_dim": 8, "depths": (1, 1), "heads": (1, 2), "window": 3}
ENTRIES = {
    "swin_tiny": "Swin_T_Weights.IMAGENET1K_V1",
    "swin_small": "Swin_S_Weights.IMAGENET1K_V1",
    "swin_base": "Swin_B_Weights.IMAGENET1K_V1",
    "resnet18": "ResNet18_Weights.IMAGENET1K_V1",
    "resnet34": "ResNet34_Weights.IMAGENET1K_V1",
    "resnet50": "ResNet50_Weights.IMAGENET1K_V2",
    "resnet101": "ResNet101_Weights.IMAGENET1K_V2",
    "resnet152": "ResNet152_Weights.IMAGENET1K_V2",
}


def small(**options):
    return backbones.create("swin", **SMALL, **options)


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_files_restore_equality(tmp_path, suffix):
    swin, path = small(), tmp_path / f"swin{suffix}"
    save_file(swin.state_dict(), path) if suffix == ".safetensors" else torch.save(swin.state_dict(), path)
    for weights in (path, str(path)):
        assert_same(swin.state_dict(), small(weights=weights).state_dict())


def test_a_training_checkpoint_is_unwrapped(tmp_path):
    state = small().state_dict()
    torch.save({"model": state, "epoch": 3}, tmp_path / "c.pth")
    assert_same(state, read_weights(tmp_path / "c.pth"))
    assert_same(state, read_weights({"state_dict": state, "optimizer": {}}))


@pytest.mark.parametrize("wrapper", ["net", "state_dict_ema", "model_ema", "teacher", "model", "model_state_dict"])
def test_wrappings_of_training_scripts_are_opened(wrapper):
    state = small().state_dict()
    assert_same(state, read_weights({wrapper: state, "epoch": 3}))
    assert_same(state, read_weights({"state_dict": {wrapper: state}, "model": {}}))


def test_a_file_with_a_changed_byte_in_its_tensors_is_refused(tmp_path, recwarn):
    torch.save({"a": torch.arange(1000.0)}, tmp_path / "x.PTH")
    content = bytearray((tmp_path / "x.PTH").read_bytes())
    assert_same({"a": torch.arange(1000.0)}, read_weights(tmp_path / "x.PTH"))
    content[len(content) // 2] ^= 255
    (tmp_path / "x.PTH").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.PTH: can't be read .*Bad CRC-32 for file 'x/data/0'\); copy it again$"):
        read_weights(tmp_path / "x.PTH")
    assert not recwarn.list


def test_a_file_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert_same({"a": torch.ones(3)}, read_weights(tmp_path / "x.pth"))


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors")
    assert_same({"a": torch.ones(1)}, read_weights("~/x.safetensors"))


def test_sparse_tensors_are_refused():
    with pytest.raises(ValueError, match=r"^weights: a is sparse; expected a tensor of plain values$"):
        read_weights({"a": torch.ones(2, 2).to_sparse()})


def test_a_saved_model_is_told_from_weights(tmp_path):
    (tmp_path / "segkit.json").write_text("{}")
    with pytest.raises(ValueError, match=r"a whole saved model; a recipe begins with one by model\.start$"):
        read_weights(tmp_path)


def test_pickled_code_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("ran",)

    torch.save(Trap(), tmp_path / "trap.pth")
    with pytest.raises(ValueError, match=r"trap.pth: can't be read as weights only, running nothing in it"):
        read_weights(tmp_path / "trap.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_damaged_files_are_named(tmp_path, suffix):
    (tmp_path / f"cut{suffix}").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=rf"cut{suffix}: can't be read"):
        read_weights(tmp_path / f"cut{suffix}")


def test_torchvisions_entries_come_as_such_or_by_name(monkeypatch):
    state = torchvision.models.resnet18(weights=None).state_dict()
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: state)
    entry = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    for weights in (entry, "ResNet18_Weights.IMAGENET1K_V1"):
        assert_same(state, read_weights(weights))
    assert_same(state, read_weights("imagenet", published="ResNet18_Weights"))


def test_timms_come_by_name(monkeypatch):
    import timm

    network = timm.create_model("resnet10t")
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: {("resnet10t", True): network}[name, pretrained])
    assert_same(network.state_dict(), read_weights("timm:resnet10t"))


def refuse(monkeypatch):
    import timm

    def raising(self, *_, **__):
        raise ConnectionError("no network\nand a second line")

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", raising)
    monkeypatch.setattr(timm, "create_model", raising)


@pytest.mark.parametrize("name", ENTRIES)
def test_imagenet_stands_for_torchvisions_default_weights(name, monkeypatch):
    refuse(monkeypatch)
    with torch.device("meta"), pytest.raises(ValueError, match=rf"the weights {ENTRIES[name]} can't be had"):
        backbones.create(name, weights="imagenet")


def test_torchvision_has_no_swin_large_so_imagenet_stands_for_timms(monkeypatch):
    refuse(monkeypatch)
    message = r"the weights timm:swin_large_patch4_window7_224 can't be had \(no network and a second line\); download"
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        backbones.create("swin_large", weights="imagenet")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("imagenet", "nobody published any for this backbone"),
        (
            "imagenett",
            "weights is 'imagenett'; did you mean 'imagenet'\\? Otherwise expected 'imagenet' or a",
        ),
        (5, "weights is 5; expected a name, a file or a state dict"),
        ({3: torch.zeros(1)}, "weights: no state dict in it; expected names and their tensors, found also 3"),
        ("no/such.safetensors", "no/such.safetensors: no such file of weights"),
        ("Swin_X_Weights.DEFAULT", "weights is 'Swin_X_Weights.DEFAULT'; torchvision has no such weights"),
        ("timm:swim", "weights is 'timm:swim'; timm has no network of that name"),
        ({"epoch": 3}, "weights: no state dict in it; expected names and their tensors, found also 'epoch'"),
    ],
)
def test_weights_that_are_not_there(weights, message):
    with pytest.raises(ValueError, match=message):
        small(weights=weights)


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "c.pth")
    with pytest.raises(ValueError, match=r"c.pth: no state dict in it"):
        small(weights=tmp_path / "c.pth")


@pytest.mark.parametrize("content", [b"hello world", b"", b"<!DOCTYPE html><html></html>", b"version https://git-lfs"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_no_weights_are_one_line_of_our_own(content, suffix, tmp_path):
    file = tmp_path / f"x{suffix}"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"x{suffix}: can't be read as weights only, running nothing in it") as error:
        read_weights(file)
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)


def test_no_damage_ends_in_another_error(tmp_path):
    """Bytes of a whole file, cut short or changed at random, in all three formats."""
    state = {"a.weight": torch.randn(4, 3), "a.bias": torch.randn(4)}
    save_file(state, tmp_path / "x.safetensors")
    torch.save(state, tmp_path / "x.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    random = np.random.default_rng(0)
    for name in ("x.safetensors", "x.pth", "old.pth"):
        whole = (tmp_path / name).read_bytes()
        for trial in range(60):
            content = bytearray(whole[: random.integers(1, len(whole))] if trial % 2 else whole)
            for place in random.integers(0, len(content), 5):
                content[place] = random.integers(256)
            damaged = tmp_path / f"damaged-{name}"
            damaged.write_bytes(content)
            with suppress(ValueError):
                read_weights(damaged)
