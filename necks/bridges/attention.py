"""Cross-attention from colour to a few tokens of depth, after CMX (Zhang et al., IEEE T-ITS 2023), at a small price.

Tokens pooled from the map, so that the cost grows with the pixels and not with their square: Pyramid Vision
Transformer's second version (Wang et al., CVMJ 2022).
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from segkit.necks.bridges.bridge import Bridge, zero
from segkit.necks.upernet import BinMeans
from segkit.parts import Positive

LEAST = 1e-3  # share of a token's cell; means over less than that fade to zero instead of being made up of a few pixels


class AttentionBridge(Bridge):
    """Each colour pixel asks what depth has found anywhere, hears what it has found right there, and takes both in.

    The depth's keys and values are means over tokens × tokens parts of the map, and one more token of zeros for pixels
    to which depth has nothing to say. What is heard, attended plus the pixel's own value, passes a 3×3 convolution a
    channel with BatchNorm and ReLU, and a 1×1 convolution that is added to the colour. CMX attends both ways, to every
    pixel, and lets the two networks correct each other on the way; this is its fusion in one direction.

    Depth features count by the share of their pixel that was measured, 0 where nothing was; a token is the mean over
    what was measured in its part of the map, weighs by the share that was, and isn't attended to where nothing was. A
    pixel where nothing was measured still hears what was measured elsewhere.

    Parameters: ``colour*width + 2*depth*width + 9*width + 2*width + width*colour + colour``: at most 5 million for a
    ResNet50's two coarsest levels with any ResNet of depth.

    Args:
        colour: channels of the colour features.
        depth: channels of the depth features.
        width: channels of queries, keys and values; a multiple of ``heads``.
        heads: parts of these that attend for themselves.
        tokens: parts of the map along each side.

    Raises ValueError where ``width`` is no multiple of ``heads``.
    """

    coarsest = 2

    def __init__(
        self, colour: int, depth: int, *, width: Positive = 256, heads: Positive = 8, tokens: Positive = 8
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width is {width} and heads {heads}; expected a multiple")
        self.heads = heads
        self.query = nn.Conv2d(colour, width, 1, bias=False)
        self.key = nn.Conv2d(depth, width, 1, bias=False)
        self.value = nn.Conv2d(depth, width, 1, bias=False)
        self.pool = BinMeans(tokens)
        self.mix = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.last = zero(nn.Conv2d(width, colour, 1))

    def forward(self, colour: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
        """The colour features [B, colour, h, w]."""
        depth = depth * valid
        measured = self.pool(valid)  # [B, 1, tokens, tokens]
        pooled = self.pool(depth) / measured.clamp(min=LEAST)
        query = self._split(self.query(colour))  # [B, heads, h·w, width/heads]
        # A token of zeros behind the others: keys and values have no bias, so it needs no weights of its own.
        key, value = (F.pad(self._split(of(pooled)), (0, 0, 0, 1)) for of in (self.key, self.value))
        prior = F.pad(measured.flatten(2).log(), (0, 1))[:, :, None]  # [B, 1, 1, tokens² + 1], log 0 is -∞
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=prior.to(query.dtype))
        own = self.value(depth)
        said = self.last(self.mix(own + heard.transpose(2, 3).reshape(own.shape)))
        return cast(Tensor, colour + said.to(colour.dtype))

    def _split(self, x: Tensor) -> Tensor:
        """Rows of each head: [B, width, h, w] → [B, heads, h·w, width/heads]."""
        batch, width, rows, columns = x.shape
        return x.reshape(batch, self.heads, width // self.heads, rows * columns).transpose(2, 3)
