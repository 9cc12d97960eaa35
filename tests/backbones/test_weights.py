"""Weights put into a backbone: every tensor is found, or named."""

import re

import pytest
import torch
import torchvision

from segkit import backbones
from segkit.backbones import from_timm
from segkit.backbones.stem import Stemmed
from segkit.backbones.weights import fold_channels, fold_depth, fold_stacked, load_weights, take_from_colour

SMALL = {"embed_dim": 8, "depths": (1, 1), "heads": (1, 2), "window": 3}


def small(**options):
    return backbones.create("swin", **SMALL, **options)


def test_one_channel_answers_as_grey_shown_in_three():
    weight, grey = torch.randn(4, 3, 2, 2), torch.randn(1, 1, 6, 6)
    folded = torch.nn.functional.conv2d(grey, fold_channels(weight, 1))
    torch.testing.assert_close(folded, torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight))


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(1, [6]), (2, [4, 2]), (4, [0.5, 2, 3, 0.5]), (5, [0.5, 1, 3, 0.5, 1]), (6, [0.5, 1, 1.5, 0.5, 1, 1.5])],
)
def test_other_channels_share_the_old_ones_so_that_equal_channels_answer_as_before(channels, expected):
    weight = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    assert fold_channels(weight, channels).flatten().tolist() == pytest.approx(expected)
    assert fold_channels(weight, 3) is weight


def test_imagenet_weights_fold_into_other_channels(monkeypatch):
    peer = torchvision.models.resnet18(weights=None)
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: peer.state_dict())
    grey = backbones.create("resnet18", weights="imagenet", in_channels=1)
    assert torch.equal(grey.stem[0].weight, peer.conv1.weight.sum(1, keepdim=True))


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
    state["layers.0.blocks.0.attention.bias_table"] = torch.zeros(169, 3)
    state["extra.weight"] = torch.zeros(1)
    del state["layers.1.blocks.0.norm1.bias"]
    with pytest.raises(ValueError, match="the weights don't fit 'swin'") as error:
        small(weights=state)
    message = str(error.value)
    assert "missing: layers.1.blocks.0.norm1.bias" in message
    assert "unknown: extra.weight" in message
    assert "of another shape: layers.0.blocks.0.attention.bias_table: found (169, 3), needed (25, 1)" in message


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.long(),
        lambda x: x.to(torch.complex64),
        lambda x: torch.full_like(x, torch.nan),
        lambda x: torch.full_like(x, torch.inf),
    ],
)
def test_values_that_can_not_be_weights_are_refused(change):
    name = "layers.0.shrink.project.weight"
    state = small().state_dict()
    with pytest.raises(ValueError, match=f"'swin'; not finite, or not fractions: {name}$"):
        small(weights={**state, name: change(state[name])})


def test_values_are_judged_as_the_backbone_keeps_them():
    name = "layers.0.shrink.project.weight"
    state = small().state_dict()
    with pytest.raises(ValueError, match=f"'swin'; not finite, or not fractions: {name}$"):
        small(weights={**state, name: torch.full_like(state[name], 1e300, dtype=torch.float64)})
    state = backbones.create("stem", width=4).state_dict()
    with pytest.raises(ValueError, match=r"'stem'; negative variances: layers\.0\.1\.running_var$"):
        backbones.create("stem", width=4, weights={**state, "layers.0.1.running_var": -torch.ones(4)})


@pytest.mark.parametrize(
    ("name", "shape"),
    [("layers.0.shrink.project.weight", (8, 0, 4, 4)), ("layers.0.blocks.0.attention.bias_table", (0, 1))],
)
def test_empty_tensors_are_of_another_shape(name, shape):
    with pytest.raises(ValueError, match=f"of another shape: {name}: found {re.escape(str(shape))}, needed"):
        small(weights={**small().state_dict(), name: torch.zeros(shape)})


def test_the_file_is_named_that_does_not_fit(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pth")
    for weights in (tmp_path / "x.pth", str(tmp_path / "x.pth")):
        with pytest.raises(ValueError, match=r"^\S*x\.pth: the weights don't fit 'swin'; missing: "):
            small(weights=weights)


def test_a_long_list_is_cut_short():
    with pytest.raises(ValueError, match=r"missing: .* and \d+ more"):
        small(weights={})


def test_what_is_taken_holds_values():
    state = backbones.create("resnet18").state_dict()
    first = next(name for name in state if name.endswith("weight"))
    with pytest.raises(ValueError, match=r"^weights: .*weight is on meta; expected a tensor of plain values$"):
        backbones.create("resnet18", weights={**state, first: state[first].to("meta")})


def test_nothing_is_changed_where_the_weights_do_not_fit():
    swin, state = small(), small().state_dict()
    before = {key: value.clone() for key, value in swin.state_dict().items()}
    with pytest.raises(ValueError, match="unknown: extra"):
        load_weights(swin, {**state, "extra": torch.zeros(1)})
    assert all(torch.equal(value, before[key]) for key, value in swin.state_dict().items())
    assert swin.pretrained is None


def test_a_deeper_networks_blocks_are_not_passed_over():
    deeper = backbones.create("swin", **{**SMALL, "depths": (1, 2)})
    with pytest.raises(ValueError, match=r"unknown: .*layers\.1\.blocks\.1\.attention\.bias_table"):
        small(weights=deeper.state_dict())


# Weights of pictures for a second modality


@pytest.mark.parametrize(
    ("channels", "expected"), [(2, [6, 0]), (3, [3, 3, 0]), (4, [2, 2, 2, 0]), (5, [1.5, 1.5, 1.5, 1.5, 0])]
)
def test_values_share_the_sum_and_validity_gets_nothing(channels, expected):
    weight = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    assert fold_depth(weight, channels).flatten().tolist() == expected
    assert fold_depth(weight.expand(4, 3, 1, 1), channels).shape == (4, channels, 1, 1)


def test_values_and_validity_need_two_channels():
    with pytest.raises(ValueError, match="1 channel can't hold values and their validity; expected 2 or more"):
        fold_depth(torch.zeros(4, 3, 1, 1), 1)


@pytest.mark.parametrize(("channels", "expected"), [(5, [1, 2, 3, 0, 0]), (3, [6, 0, 0]), (6, [0.5, 2, 3, 0.5, 0, 0])])
def test_what_is_stacked_behind_an_image_gets_nothing(channels, expected):
    weight = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    assert fold_stacked(weight, channels, depth=2).flatten().tolist() == expected


@pytest.mark.parametrize("seen", [1, 3, 4])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_depth_backbone_takes_a_colour_backbone_s_weights(seen, channels):
    colour = backbones.create("resnet18", in_channels=seen, levels=(0, 1))
    depth = backbones.create("resnet18", in_channels=channels, levels=(0, 1))
    report = take_from_colour(depth, colour.state_dict())
    assert report is depth.pretrained
    assert report.folded == ("stem.0.weight",)
    kernel = depth.stem[0].weight
    share = colour.stem[0].weight.sum(1) / (channels - 1)
    for i in range(channels - 1):
        torch.testing.assert_close(kernel[:, i], share)
    assert not kernel[:, -1].any()
    for key, value in colour.state_dict().items():
        assert key == "stem.0.weight" or torch.equal(depth.state_dict()[key], value), key


def test_a_depth_backbone_of_another_architecture_can_not_take_them():
    depth = backbones.create("resnet18", in_channels=2)
    with pytest.raises(ValueError, match="the weights don't fit 'depth'; unknown: layers"):
        take_from_colour(depth, backbones.create("resnet34").state_dict(), name="depth")
    assert depth.pretrained is None


@pytest.mark.parametrize("weights", ["imagenet", "ResNet18_Weights.IMAGENET1K_V1"])
@pytest.mark.parametrize("channels", [2, 3])
def test_imagenet_weights_are_folded_for_depth_even_where_channels_are_as_many(channels, weights, monkeypatch):
    peer = torchvision.models.resnet18(weights=None)
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: peer.state_dict())
    depth = backbones.create("resnet18", weights=weights, in_channels=channels, fold=fold_depth)
    assert torch.equal(depth.stem[0].weight, fold_depth(peer.conv1.weight, channels))
    assert depth.pretrained.folded == ("stem.0.weight",)


def test_weights_of_as_many_channels_are_taken_to_be_of_the_same_kind():
    one = small(in_channels=3)
    other = small(in_channels=3, weights=one.state_dict(), fold=fold_depth)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
    assert other.pretrained.folded == ()


def test_another_library_s_imagenet_weights_are_folded_for_depth_too(monkeypatch):
    build, fetched = from_timm._build, []

    def offline(title, name, options):
        network = build(title, name, {**options, "pretrained": False})
        if options["pretrained"]:
            fetched.append(network)
        return network

    monkeypatch.setattr(from_timm, "_build", offline)
    depth = backbones.create("timm:resnet10t", weights="imagenet", in_channels=2, fold=fold_depth)
    entrance = fetched[-1].conv1[0].weight
    assert entrance.shape[1] == 3
    assert torch.equal(depth.network.conv1[0].weight, fold_depth(entrance, 2))
    assert torch.equal(depth.network.layer1[0].conv1.weight, fetched[-1].layer1[0].conv1.weight)


# The report


def test_every_tensor_is_accounted_for():
    peer = torchvision.models.swin_transformer.SwinTransformer([4, 4], 8, [1, 1], [1, 2], [5, 5], num_classes=2)
    swin = small(in_channels=1, out_norm=True)
    report = load_weights(swin, peer.state_dict())
    assert swin.pretrained is report
    assert report.folded == ("layers.0.shrink.project.weight",)
    assert report.interpolated == tuple(f"layers.{i}.blocks.0.attention.bias_table" for i in (0, 1))
    assert report.random == tuple(f"norms.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias"))
    assert set(report.unused) == {
        *(f"features.{i}.0.attn.relative_position_index" for i in (1, 3)),
        *("norm.weight", "norm.bias", "head.weight", "head.bias"),
    }
    parts = (report.loaded, report.interpolated, report.folded, report.random)
    assert sorted(sum(parts, ())) == sorted(swin.state_dict())
    assert str(report) == (
        "30 tensors loaded as they are, 2 interpolated (layers.0.blocks.0.attention.bias_table, "
        "layers.1.blocks.0.attention.bias_table), 1 folded to other channels (layers.0.shrink.project.weight), "
        "4 left at random (norms.0.weight, norms.0.bias and 2 more), 6 not used "
        "(features.1.0.attn.relative_position_index, features.3.0.attn.relative_position_index and 4 more)"
    )


def test_own_weights_are_all_loaded_as_they_are():
    swin = small(weights=small().state_dict())
    assert str(swin.pretrained) == f"{len(swin.state_dict())} tensors loaded as they are"


def test_stages_that_were_not_built_are_not_used():
    swin = small(weights=small().state_dict(), levels=(0,))
    assert swin.pretrained.unused == tuple(key for key in small().state_dict() if key.startswith("layers.1."))


# Names that a larger model put before the backbone's


FURTHER = ("_orig_mod.", "model.", "encoder.", "module._orig_mod.", "model.backbone.", "model.encoder.")


@pytest.mark.parametrize("before", ["module.", "backbone.", "module.backbone.", "backbone.backbone.", *FURTHER])
def test_a_part_of_a_larger_model_is_found(before):
    state = small().state_dict()
    larger = {**{before + key: value for key, value in state.items()}, "head.weight": torch.zeros(1)}
    found = small(weights=larger)
    assert all(torch.equal(found.state_dict()[key], value) for key, value in state.items())
    assert "head.weight" not in found.state_dict()


def test_parts_among_which_nobody_can_choose_are_named():
    state = small().state_dict()
    both = {f"backbone.{part}.{key}": value for part in ("colour", "depth") for key, value in state.items()}
    message = r"found under 'colour\.' and 'depth\.': give those alone, without that beginning of their names$"
    with pytest.raises(ValueError, match=message):
        small(weights=both)
    with pytest.raises(ValueError, match=r"found under 'parts\.0\.': give"):
        small(weights={f"backbone.parts.0.{key}": value for key, value in state.items()})


def test_a_composites_own_names_are_left_alone():
    one, other = Stemmed(small(), width=4), Stemmed(small(), width=4)
    assert load_weights(other, one.state_dict()).unused == ()
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def test_older_files_lack_the_count_of_batches():
    peer = torchvision.models.resnet18(weights=None)
    state = {key: value for key, value in peer.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert torch.equal(backbones.create("resnet18", weights=state).stem[1].running_var, peer.bn1.running_var)
