"""Weights that bfloat16 holds exactly, so that a trained model says the same in bf16 as in fp32."""

import torch
from torch import Tensor, nn

from segkit.backbones.backbone import ImageTooLargeError
from segkit.folding import foldable, probe_of
from segkit.model import Segmenter
from segkit.prediction.prepared import LOW


@torch.no_grad()
def round_weights(segmenter: Segmenter) -> None:
    """Round what bf16 computes with, in place: weights and biases of convolutions and linear layers.

    Prediction in bf16 folds BatchNorm into the convolution before it and rounds the two, which moves probabilities by a
    few hundredths where early layers cancel much. Rounded here, once and for all precisions, both say the same but for
    the rounding of what flows through, and the model is judged as it is used. A convolution takes over its norm's gain
    for this, and the norm is rescaled to a gain of one. What is frozen stays as it is.
    """
    probe = probe_of(segmenter.reader, segmenter.mean.device)
    try:
        pairs = foldable(segmenter, lambda model: model.statistics(probe))
    except ImageTooLargeError:  # of a backbone for smaller images; then nothing will be folded in prediction either
        pairs = []
    for first, second in pairs:
        convolution, norm = segmenter.get_submodule(first), segmenter.get_submodule(second)
        assert isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d)
        assert isinstance(norm, nn.BatchNorm2d)
        if _learns(convolution) and _learns(norm):
            _take_over(convolution, norm)
    for module in segmenter.modules():
        if type(module) in LOW and _learns(module):
            for parameter in module.parameters(recurse=False):
                parameter.copy_(_rounded(parameter))


def is_rounded(segmenter: Segmenter) -> bool:
    """Whether :func:`round_weights` would leave every weight of convolutions and linear layers as it is."""
    weights = (
        each for module in segmenter.modules() if type(module) in LOW for each in module.parameters(recurse=False)
    )
    return all(torch.equal(each, _rounded(each)) for each in weights)


def _take_over(convolution: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    """Move the norm's gain into the convolution; the norm's offset is what it takes to add a rounded number."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    gain = norm.weight / (variance + norm.eps).sqrt()
    along = 1 if isinstance(convolution, nn.ConvTranspose2d) else 0  # the axis of a weight's outgoing channels
    convolution.weight.mul_(gain.view([-1 if axis == along else 1 for axis in range(4)]))
    if convolution.bias is not None:
        mean.sub_(convolution.bias)
        convolution.bias.zero_()
    mean.mul_(gain)
    norm.bias.copy_(_rounded(norm.bias - mean))
    mean.copy_(_rounded(mean))
    norm.bias.add_(mean)  # a sum of two rounded numbers, so that subtracting the mean gives the first again
    variance.mul_(gain.square())
    norm.weight.copy_((variance + norm.eps).sqrt())


def _learns(module: nn.Module) -> bool:
    return all(parameter.requires_grad for parameter in module.parameters(recurse=False))


def _rounded(values: Tensor) -> Tensor:
    return values.bfloat16().float()
