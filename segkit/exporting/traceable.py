"""What a segmenter does with a second modality before its networks, in operators that have a graph for every size."""

import torch
from torch import Tensor

from segkit.data.resize import shrunk_or_enlarged
from segkit.model import Segmenter


class Traceable(Segmenter):
    """A segmenter with a second modality that can be traced; it says the same.

    A segmenter itself compares the number of pictures, and zooms depth in as many steps as cells have pixels: both
    become constants of a graph.
    """

    def _taken(self, image: Tensor, depth: Tensor | None) -> tuple[Tensor, Tensor | None]:
        image, depth = self.reader.apart(image, depth)
        if self.input_size is None:
            return image, depth
        if depth is not None:
            depth = zoomed_at_once(depth, self.input_size, metric=self.reader.metric)
        return shrunk_or_enlarged(image, self.input_size), depth


def make_traceable(model: torch.nn.Module) -> None:
    """Turn all segmenters with a second modality in a model, in place, into traceable ones."""
    for part in model.modules():
        if isinstance(part, Segmenter) and part.reader.depth_channels:
            part.__class__ = Traceable


def zoomed_at_once(depth: Tensor, size: tuple[int, int], *, metric: bool) -> Tensor:
    """What :func:`segkit.data.depth.zoomed_depth` gives, by two products of matrices.

    Args:
        depth: values and, last, validity 0 or 1, [B, C + 1, H, W].
        size: height and width.
        metric: values are metres, to be divided by the zoom.
    """
    height, width = depth.shape[-2:]
    measured = depth[:, -1:]
    rows, columns = _shares(height, size[0], depth), _shares(width, size[1], depth)
    means = rows @ torch.cat([depth[:, :-1].where(measured > 0, 0), measured], dim=1) @ columns.T
    values, measured = means[:, :-1], means[:, -1:]
    valid = measured >= 0.5 - 1e-5  # half, whatever the rounding
    values = (values / measured.clamp(min=0.25)).where(valid, 0)
    if metric:
        one = torch.ones(1, device=depth.device)
        values = values / ((one * size[0] / height) * (one * size[1] / width)).sqrt()
    return torch.cat([values, valid.to(values)], dim=1)


def _shares(side: int, cells: int, like: Tensor) -> Tensor:
    """What each pixel of a side adds to the mean of each of so many equal cells, [cells, side]."""
    # In units of 1/cells of a pixel, so that all ends are whole numbers.
    cell = torch.arange(cells, device=like.device)[:, None]
    pixel = torch.arange(side, device=like.device)
    ends = torch.minimum((cell + 1) * side, (pixel + 1) * cells)
    return (ends - torch.maximum(cell * side, pixel * cells)).clamp(min=0).to(like.dtype) / side
