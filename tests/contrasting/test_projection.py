import pytest
import torch
import torch.nn.functional as F

from segkit.contrasting.projection import DenseProjection, ImageProjection, at_places, in_parts


def pyramid(strides=(2, 4, 8), channels=(3, 5, 7), size=(30, 44)):
    return [torch.randn(2, c, *(-(-side // s) for side in size)) for s, c in zip(strides, channels, strict=True)]


def test_at_places_is_bilinear_sampling():
    cells = torch.randn(2, 3, 8, 11)
    place = torch.stack([torch.randint(0, 2, (50,)), torch.randint(0, 30, (50,)), torch.randint(0, 44, (50,))], dim=1)
    found = at_places(cells, 4, place)
    for image in (0, 1):
        own = place[place[:, 0] == image]
        grid = torch.stack([(2 * own[:, 2] + 1) / 44 - 1, (2 * own[:, 1] + 1) / 32 - 1], dim=1).view(1, 1, -1, 2)
        expected = F.grid_sample(cells[image : image + 1], grid, padding_mode="border", align_corners=False)
        torch.testing.assert_close(found[place[:, 0] == image], expected[0, :, 0].T, atol=1e-5, rtol=1e-5)


def test_a_ramp_is_looked_up_exactly():
    # Cells of stride 4 whose value is the row of their middle, 1.5, 5.5, …: between middles it is the pixel's own.
    ramp = (torch.arange(6) * 4 + 1.5).view(1, 1, 6, 1).expand(1, 1, 6, 6)
    place = torch.tensor([[0, 2, 3], [0, 13, 20], [0, 0, 0], [0, 23, 23]])
    assert at_places(ramp, 4, place).flatten().tolist() == [2, 13, 1.5, 21.5]  # at borders the outermost middle


def test_no_places_are_no_vectors():
    assert at_places(torch.zeros(1, 5, 2, 2), 4, torch.zeros(0, 3, dtype=torch.long)).shape == (0, 5)


def test_dense_projection_is_on_the_grid_of_the_nearest_level():
    for wanted, stride, size in ((4, 4, (8, 11)), (1, 2, (15, 22)), (99, 8, (4, 6))):
        head = DenseProjection((3, 5, 7), (2, 4, 8), 6, stride=wanted)
        assert head.stride == stride
        assert head(pyramid()).shape == (2, 6, *size)


def test_every_parameter_learns():
    head = DenseProjection((3, 5, 7), (2, 4, 8), 6, stride=2)
    whole = ImageProjection((3, 5, 7), 6)
    levels = pyramid()
    (head(levels).square().sum() + whole(levels).square().sum()).backward()
    assert whole(levels).shape == (2, 6)
    for parameter in (*head.parameters(), *whole.parameters()):
        assert parameter.grad.abs().sum() > 0


def test_image_projection_averages_the_coarsest_level():
    whole = ImageProjection((3, 5, 7), 6)
    levels = pyramid()
    flat = [level.mean(dim=(2, 3), keepdim=True) for level in levels]
    torch.testing.assert_close(whole(levels), whole(flat))
    assert pytest.approx(0) != float((whole(levels)[0] - whole(levels)[1]).abs().sum().detach())


def test_pictures_are_as_similar_as_their_parts_on_average():
    first, second = torch.randn(2, 5, 8, 12), torch.randn(2, 5, 8, 12)
    window = (3, 5, 24, 36)
    vectors = [in_parts(each, 4, window, 3) for each in (first, second)]
    rows, columns = (7, 15, 23), (11, 23, 35)
    for image in (0, 1):
        place = torch.tensor([[image, row, column] for row in rows for column in columns])
        cosines = F.cosine_similarity(at_places(first, 4, place), at_places(second, 4, place))
        whole = F.cosine_similarity(vectors[0][image], vectors[1][image], dim=0)
        torch.testing.assert_close(whole, cosines.mean())
