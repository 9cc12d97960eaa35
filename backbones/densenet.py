"""DenseNet: five levels in which every layer sees all before it (Huang et al., CVPR 2017), torchvision's layers."""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torchvision
from torch import Tensor, nn

from segkit.backbones.chain import Chain, fit_channels


class DenseNet(Chain):
    """A pyramid of strides (2, 4, 8, 16, 32): the first convolution, then each dense block, normalised.

    A dense block's output is a heap of maps that no norm has seen, so a level is taken after the norm and ReLU that
    follow the block. The poolings between blocks average a last row or column that has no partner by itself, so
    levels have ceil sizes; values are torchvision's, up to the border where 32 divides the image's sides.

    Args:
        name: torchvision's name of the network, as ``densenet121``.
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Layers coarser than the last one are not kept.
    """

    def __init__(self, name: str, *, in_channels: int = 3, levels: Sequence[int] | None = None) -> None:
        features = torchvision.models.get_model(name, weights=None).features
        features.conv0 = fit_channels(features.conv0, in_channels)
        stages: list[nn.Module] = [features[:3]]
        channels = [features.conv0.out_channels]
        shrink = {"pool0": features.pool0}
        for i in range(1, 5):
            transition = getattr(features, f"transition{i}", None)
            norm = transition.norm if transition is not None else features.norm5
            parts = OrderedDict(shrink)
            parts[f"denseblock{i}"] = getattr(features, f"denseblock{i}")
            parts[f"transition{i}_norm" if transition is not None else "norm5"] = norm
            parts[f"relu{i}"] = nn.ReLU(inplace=True)
            stages.append(nn.Sequential(parts))
            channels.append(norm.num_features)
            if transition is not None:
                pool = nn.AvgPool2d(2, ceil_mode=True)
                shrink = {f"transition{i}_conv": transition.conv, f"transition{i}_pool": pool}
        super().__init__(stages, channels, (2, 4, 8, 16, 32), in_channels=in_channels, levels=levels)

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's state dict under this backbone's names; its files say ``norm.1`` for norm1."""
        return super().own_names({_flat_name(key): value for key, value in state.items()})


def _flat_name(key: str) -> str:
    key = re.sub(r"^features\.(transition\d)\.(norm|conv)\.", r"features.\1_\2.", key)
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)
