"""The model of two encoders: what learns, and what is refused."""

import pytest
import torch

from segkit.contrasting.colour_depth import ColourDepth
from segkit.contrasting.colour_depth_recipe import ColourDepthRecipe
from segkit.contrasting.projection import at_places
from segkit.data.depth_format import DepthFormat
from segkit.errors import UsageError

TINY = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}
METRES = DepthFormat(unit="m")


def model(**options):
    torch.manual_seed(0)
    return ColourDepth.create(
        TINY,
        TINY,
        options=ColourDepthRecipe(dim=8, **options),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        encoding={"name": "metres", "per_picture": True},
        depth_format=METRES,
    )


def batch(count=4, size=24):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(count, 3, size, size, generator=generator)
    depth = torch.cat([1 + image[:, :1], torch.ones(count, 1, size, size)], dim=1)
    place = torch.tensor([[i, row, column] for i in range(count) for row in (3, 20) for column in (5, 22)])
    return image, depth, place


def lost(network):
    image, depth, place = batch()
    found = network(image, depth, place)
    return network.loss(found, torch.ones(4, dtype=torch.bool), place)


@pytest.mark.parametrize("loss", ["info_nce", "margin"])
def test_both_encoders_their_projections_and_temperatures_learn(loss):
    network = model(loss=loss)
    total, parts = lost(network)
    total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert float(total.detach()) == pytest.approx(float(parts["image_loss"] + parts["dense_loss"]))
    temperatures = {name for name in network.state_dict() if name.endswith("log_scale")}
    assert temperatures == ({"image_loss.log_scale", "dense_loss.log_scale"} if loss == "info_nce" else set())


def test_weights_of_the_losses_are_theirs():
    total, parts = lost(model(image=0.5, dense=2.0))
    assert float(total.detach()) == pytest.approx(float(0.5 * parts["image_loss"] + 2 * parts["dense_loss"]))
    assert lost(model(dense=0))[1].keys() == {"image_loss", "image_temperature"}
    assert lost(model(image=0))[1].keys() == {"dense_loss", "dense_temperature"}


def test_pictures_of_which_nothing_is_measured_are_not_learnt_from():
    network = model(dense=0).eval()  # drops no paths
    image, depth, _ = batch()
    depth[1] = 0
    found = network(image, depth)
    measured = torch.tensor([True, False, True, True])
    assert found.depth_places.shape == (0, 8)
    value, _ = network.loss(found, measured, torch.zeros(0, 3, dtype=torch.long))
    fewer = network(image[measured], depth[measured])
    expected, _ = network.loss(fewer, torch.ones(3, dtype=torch.bool), torch.zeros(0, 3, dtype=torch.long))
    torch.testing.assert_close(value, expected)


def test_a_few_steps_find_pairs():
    network = model(points=4, radius=4.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    began, temperature = float(lost(network)[0].detach()), network.image_loss.temperature
    for _ in range(60):
        optimizer.zero_grad()
        lost(network)[0].backward()
        optimizer.step()
    assert float(lost(network)[0].detach()) < began / 2
    assert network.image_loss.temperature != temperature


def test_unknown_parts_are_named():
    options = {"options": ColourDepthRecipe(), "mean": (0.5,) * 3, "std": (0.25,) * 3, "depth_format": METRES}
    with pytest.raises(UsageError, match="swinn"):
        ColourDepth.create({"name": "swinn"}, TINY, encoding=None, **options)
    with pytest.raises(UsageError, match="no kind 'hha'"):
        ColourDepth.create(TINY, TINY, encoding={"name": "hha"}, **options)
    relative = {**options, "depth_format": DepthFormat(unit="relative")}
    with pytest.raises(UsageError, match="take plain"):
        ColourDepth.create(TINY, TINY, encoding={"name": "metres"}, **relative)


def test_windows_laid_apart_are_compared_where_both_show_the_same():
    network = model(parts=4).eval()
    image, depth, place = batch(size=40)
    together = network(image[..., :24, :24], depth[..., :24, :24], place[:, :])
    apart = network(image[..., :24, :24], depth[..., 4:28, 8:32], place - torch.tensor([0, 4, 8]), (4, 8))
    # Places and parts of the colours are looked up where they were, wherever the other window lies.
    torch.testing.assert_close(apart.colour_places, together.colour_places)
    assert apart.colour.shape == apart.depth.shape == (4, 16 * 8)
    both = network(image[..., :24, :24], depth[..., :24, :24])
    assert not torch.allclose(apart.colour, both.colour)
    torch.testing.assert_close(
        network(image[..., :24, :24], depth[..., :24, :24], None, (8, 8)).colour[:, :8],
        torch.nn.functional.normalize(_at(network, image[..., :24, :24], [[i, 8 + 2, 8 + 2] for i in range(4)]), dim=1),
    )


def _at(network, image, place):
    cells = network.colour_projection(network.colour((image - network.mean) / network.std))
    return at_places(cells, network.colour_projection.stride, torch.tensor(place))
