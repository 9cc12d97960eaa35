import copy
import io

import numpy as np
import pytest
import torch

from segkit.data.depth_encoding import DepthEncoding, normals

KINDS = {
    "metres": {"mean": [2.0], "std": [0.5]},
    "inverse": {"mean": [0.6], "std": [0.2]},
    "normals": {"mean": [2.0], "std": [0.5], "focal": (50, 60)},
    "plain": {"mean": [3.0, -1.0], "std": [2.0, 4.0], "channels": 2},
}


def encoding(kind, **options):
    return DepthEncoding(kind, **{**KINDS[kind], **options})


def depth_for(kind, batch=3, size=(12, 15), seed=0):
    """Random depth with holes; nothing is measured in the last row."""
    channels = KINDS[kind].get("channels", 1)
    rng = torch.Generator().manual_seed(seed)
    depth = 0.5 + 3 * torch.rand(batch, channels + 1, *size, generator=rng)
    depth[:, -1] = (torch.rand(batch, *size, generator=rng) > 0.3).float()
    depth[-1, -1] = 0
    depth[:, :-1] *= depth[:, -1:]
    return depth


def plane(normal, distance, size=(20, 30), focal=(50, 60)):
    """Depth of the plane of points P with normal · P = distance, [1, 2, H, W], and its height map."""
    v, u = np.mgrid[: size[0], : size[1]]
    x, y = (u - (size[1] - 1) / 2) / focal[0], (v - (size[0] - 1) / 2) / focal[1]
    z = distance / (normal[0] * x + normal[1] * y + normal[2])
    return torch.from_numpy(np.stack([z, np.ones(size)])).float()[None], torch.from_numpy(-y * z).float()


def test_metres_inverse_and_plain_are_standardised():
    depth = torch.tensor([1.0, 2, 4, 0]).view(1, 1, 2, 2)
    valid = torch.tensor([1.0, 1, 1, 0]).view(1, 1, 2, 2)
    depth = torch.cat([depth, valid], dim=1)
    assert encoding("metres")(depth)[0].flatten(1).tolist() == [[-2, 0, 4, 0], [1, 1, 1, 0]]
    found = encoding("inverse")(depth)[0].flatten(1)
    torch.testing.assert_close(found, torch.tensor([[2.0, -0.5, -1.75, 0], [1, 1, 1, 0]]))
    two = torch.cat([depth[:, :1], depth], dim=1)
    assert encoding("plain")(two)[0].flatten(1).tolist() == [[-1, -0.5, 0.5, 0], [0.5, 0.75, 1.25, 0], [1, 1, 1, 0]]


def test_one_value_does_not_drown_the_others_once_it_is_standardised():
    depth = torch.tensor([[[[0.3, 0.35, 1e38, 0.3]]]])
    depth = torch.cat([depth, torch.ones_like(depth)], dim=1)
    found = DepthEncoding("metres", mean=[0.3], std=[0.05])(depth)
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([0.0, 1.0, 10.0, 0.0]))
    assert DepthEncoding("metres")(depth)[0, 0, 0, 2] == depth[0, 0, 0, 2]  # where nobody said how large values are
    tall = torch.full((1, 1, 480, 1), 0.3)
    tall[:, :, ::2] = 1e4
    found = DepthEncoding("normals", focal=[500, 500], mean=[0.3], std=[0.05])(torch.cat([tall, tall * 0 + 1], dim=1))
    assert found[:, 3].abs().max() == 10  # the height, too


@pytest.mark.parametrize("normal", [(0, 0, 1), (0, 0.6, 0.8), (-0.28, 0, 0.96), (0.36, 0.48, 0.8)])
def test_the_normals_of_a_plane_are_the_planes_own_everywhere(normal):
    depth, height = plane(normal, 2.0)
    found = encoding("normals")(depth)[0]
    expected = -torch.tensor(normal).float().view(3, 1, 1).expand(3, 20, 30)  # towards the camera
    torch.testing.assert_close(found[:3], expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(found[3], height / 0.5)
    torch.testing.assert_close(found[4], (depth[0, 0] - 2) / 0.5)
    assert (found[5] == 1).all()


def test_a_picture_zoomed_by_two_has_the_same_heights_and_half_the_depth():
    zoomed, height = plane((0.36, 0.48, 0.8), 2.0, (40, 60), (100, 120))
    zoomed[:, :1] /= 2
    found = encoding("normals")(zoomed)[0]
    squashed = -torch.nn.functional.normalize(torch.tensor([0.36, 0.48, 1.6]), dim=0)
    torch.testing.assert_close(found[:3], squashed.view(3, 1, 1).expand(3, 40, 60), atol=2e-5, rtol=0)
    torch.testing.assert_close(found[3], height / 0.5)


def test_a_normal_takes_what_neighbours_it_has():
    depth, _ = plane((0.36, 0.48, 0.8), 2.0, (3, 3))
    for row, column in [(1, 0), (0, 1)]:
        holed = depth.clone()
        holed[..., row, column] = 0
        found = normals(holed[:, :1], holed[:, 1:] > 0, torch.tensor([50.0, 60.0]))[0, :, 1, 1]
        torch.testing.assert_close(found, torch.tensor([-0.36, -0.48, -0.8]), atol=1e-4, rtol=0)
    alone = depth.clone()
    alone[..., 1, [0, 2]] = 0
    assert not normals(alone[:, :1], alone[:, 1:] > 0, torch.tensor([50.0, 60.0]))[0, :, 1, 1].any()
    for size in ((1, 5), (5, 1), (1, 1)):
        thin, _ = plane((0, 0, 1), 2.0, size)
        assert encoding("normals")(thin).shape == (1, 6, *size)


@pytest.mark.parametrize("per_picture", [False, True])
@pytest.mark.parametrize("kind", list(KINDS))
class TestEveryKind:
    def test_what_is_not_measured_is_zero_and_the_validity_is_last(self, kind, per_picture):
        depth, module = depth_for(kind), encoding(kind, per_picture=per_picture)
        found = module(depth)
        assert found.shape == (3, module.out_channels + 1, 12, 15)
        assert torch.equal(found[:, -1:], depth[:, -1:])
        assert (found[:, :-1] * (1 - depth[:, -1:]) == 0).all()
        assert not found[-1].any()
        assert found.isfinite().all()

    def test_rows_do_not_depend_on_one_another(self, kind, per_picture):
        depth, module = depth_for(kind), encoding(kind, per_picture=per_picture)
        for one, alone in zip(module(depth), depth, strict=True):
            assert torch.equal(one, module(alone[None])[0])

    def test_gradients_are_finite_where_nothing_is_measured(self, kind, per_picture):
        depth = depth_for(kind).requires_grad_()
        encoding(kind, per_picture=per_picture)(depth).square().sum().backward()
        assert depth.grad.isfinite().all()
        assert depth.grad[:-1].any()

    def test_it_keeps_type_and_values_under_autocast_and_in_half(self, kind, per_picture):
        depth, module = depth_for(kind), encoding(kind, per_picture=per_picture)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(module(depth), module(depth.float()))
        half = module(depth.half())
        assert half.dtype == torch.float16
        assert half.isfinite().all()

    def test_compiled_and_exported_it_is_the_same_at_any_size(self, kind, per_picture):
        depth, module = depth_for(kind), encoding(kind, per_picture=per_picture)
        torch.compiler.reset()
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
        sides = {2: torch.export.Dim("height", min=3, max=4096), 3: torch.export.Dim("width", min=3, max=4096)}
        shapes = {0: torch.export.Dim("batch", min=1, max=64), **sides}
        exported = torch.export.export(module, (depth,), dynamic_shapes=({**shapes},)).module()
        for other in (depth, depth_for(kind, 2, (21, 34), seed=1)):
            torch.testing.assert_close(compiled(other), module(other))
            torch.testing.assert_close(exported(other), module(other))

    def test_copies_and_states_are_equal(self, kind, per_picture):
        depth, module = depth_for(kind), encoding(kind, per_picture=per_picture)
        other = encoding(kind, per_picture=per_picture, mean=[9.0] * module.in_channels)
        buffer = io.BytesIO()
        torch.save(module.state_dict(), buffer)
        buffer.seek(0)
        other.load_state_dict(torch.load(buffer, weights_only=True))
        assert torch.equal(other(depth), module(depth))
        assert torch.equal(copy.deepcopy(module)(depth), module(depth))


def test_each_picture_by_its_own_median_and_quartiles():
    values = torch.tensor([1.0, 2, 3, 4, 100, 0]).view(1, 1, 2, 3)
    depth = torch.cat([values, (values > 0).float()], dim=1)
    found = encoding("metres", per_picture=True)(torch.cat([depth, depth * torch.tensor([7.0, 1]).view(2, 1, 1)]))
    assert torch.equal(found[0], found[1])  # in no unit
    expected = torch.tensor([-2.0, -1, 0, 1, 97]) * 1.349 / 2
    torch.testing.assert_close(found[0, 0].flatten()[:5], expected.clamp(max=10))
    flat = torch.cat([torch.full((1, 1, 2, 3), 5.0), torch.ones(1, 1, 2, 3)], dim=1)
    assert not encoding("metres", per_picture=True)(flat)[:, 0].any()


MISTAKES = [
    (("metrs", {}), "no kind 'metrs'; there are metres, inverse, normals and plain"),
    (("metres", {"channels": 2}), "metres takes depth in one channel, not 2; say plain"),
    (("plain", {"channels": 2}), "2 channels, but 1 means and 1 deviations"),
    (("metres", {"std": [0.0]}), "mean, std and focal are finite numbers, above 0"),
    (("normals", {}), "normals need the focal lengths: give 'intrinsics' in dataset.yaml"),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES)
def test_mistakes_are_explained(given, message):
    kind, options = given
    with pytest.raises(ValueError, match=message):
        DepthEncoding(kind, **options)


def test_other_channels_than_expected_are_told():
    with pytest.raises(ValueError, match="depth has 3 channels; expected 1 and the validity"):
        encoding("metres")(torch.zeros(1, 3, 4, 4))


def test_what_lies_on_a_flat_table_is_seen_by_its_height_whatever_its_area():
    depth = torch.ones(1, 2, 10, 10)
    depth[:, 0] = 0.5
    module = encoding("metres", per_picture=True)
    assert module(depth)[:, 0].abs().max() == 0  # nothing on it
    depth[0, 0, 0] = depth[0, 0, 1] = 0.45  # a fifth: the quartiles are the table's
    found = module(depth)[0, 0]
    assert found[5, 5] == 0
    torch.testing.assert_close(found[0, 0].item(), -(5**0.5), atol=1e-3, rtol=0)  # 0.05 over 0.05 · √0.2
