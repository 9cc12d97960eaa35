"""Swin Transformer: a pyramid from self-attention inside shifted windows (Liu et al., ICCV 2021).

Read from the bottom up: ``Swin`` is four ``Stage``s; a stage shrinks the map, then runs ``Block``s; a block is
attention inside windows, then an MLP on each token; every second block shifts its windows by half, so that what one
block keeps apart the next one joins. Maps are [B, H, W, C] throughout, one token a pixel, until a level is returned.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from segkit.backbones.attention import attend
from segkit.backbones.backbone import ImageBackbone, ceil, select_levels
from segkit.backbones.drop_path import DropPath
from segkit.backbones.linear import Linear
from segkit.backbones.swin_layouts import resample_bias, swin_names
from segkit.backbones.windows import put_back, take_windows, window_mask, window_places
from segkit.parts import Positive

CACHED_TOKENS = 4096  # so many tokens' hidden values of an MLP stay in a processor's cache
CACHED_BYTES = 1 << 21  # of windows' queries, keys and values


class PatchEmbedding(nn.Module):
    """One token for each patch of the image: [B, in_channels, H, W] → [B, ⌈H/patch⌉, ⌈W/patch⌉, dim].

    A last row or column of patches that the image only partly covers is filled up with zeros.
    """

    def __init__(self, in_channels: int, dim: int, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.project = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """Tokens [B, ⌈H/patch⌉, ⌈W/patch⌉, dim] of an image."""
        (height, width), patch = image.shape[-2:], self.patch_size
        image = F.pad(image, (0, ceil(width, patch) * patch - width, 0, ceil(height, patch) * patch - height))
        tokens: Tensor = self.norm(self.project(image).permute(0, 2, 3, 1))
        return tokens


class PatchMerging(nn.Module):
    """One token for every 2×2 tokens: [B, H, W, dim] → [B, ⌈H/2⌉, ⌈W/2⌉, 2·dim]; odd maps are filled up with zeros."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The map at half the size with twice the channels."""
        batch, height, width, dim = x.shape
        rows, columns = ceil(height, 2), ceil(width, 2)
        x = F.pad(x, (0, 0, 0, 2 * columns - width, 0, 2 * rows - height))
        x = x.view(batch, rows, 2, columns, 2, dim)
        x = x.permute(0, 1, 3, 4, 2, 5).reshape(batch, rows, columns, 4 * dim)  # column by column
        merged: Tensor = self.reduction(self.norm(x))
        return merged


class WindowAttention(nn.Module):
    """Multi-head self-attention inside each window, aware of where tokens stand to each other: same shape out.

    The map is filled up with zeros to whole windows, then rolled by ``shift``, so that windows of the rolled map
    straddle the borders of the unshifted ones. Rolling brings opposite edges of the map together in one window; a mask
    keeps them from seeing each other.

    Args:
        dim: channels of the map.
        heads: attention heads; must divide ``dim``.
        window: side of a window, in tokens.
        shift: tokens to roll by; no axis is shifted on which one window covers the whole map.
        mask_padding: keep real tokens from attending to the zeros that fill up the last windows.
        shrink_window: where the map is smaller than a window, use a window of the map's size, not a filled-up one.
    """

    def __init__(
        self, dim: int, heads: int, window: int, *, shift: int, mask_padding: bool = False, shrink_window: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.shift = shift
        self.mask_padding = mask_padding
        self.shrink_window = shrink_window
        self.qkv = Linear(dim, 3 * dim)
        self.project = Linear(dim, dim)

        # One learned number per head for each of the (2·window - 1)² ways two tokens of a window can stand.
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        offset = torch.arange(window)[:, None] - torch.arange(window) + window - 1  # [query, key], from 0
        rows, columns = offset[:, None, :, None], offset[None, :, None, :]
        self.bias_index: Tensor
        # [query row, query column, key row, key column] → row of the table
        self.register_buffer("bias_index", rows * (2 * window - 1) + columns, persistent=False)
        self._kept_bias: tuple[tuple[Any, ...], Tensor, tuple[Tensor, Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """What each token gathers from its window, [B, H, W, dim]."""
        batch, height, width, dim = x.shape
        window_h, padded_h, shift_h = self._fit(height)
        window_w, padded_w, shift_w = self._fit(width)
        window, shift = (window_h, window_w), (shift_h, shift_w)

        size, padded = (height, width), (padded_h, padded_w)
        any_size = torch.compiler.is_exporting()  # what depends on the size is then done for every size
        places = window_places(size, padded, window, shift, x.device)

        x = x.reshape(batch, height * width, dim)
        if any_size or padded != size:
            x = F.pad(x, (0, 0, 0, 1))  # one zero token stands in for all padding
        qkv = self.qkv(x)
        bias = self._position_bias(window, qkv.dtype)[None]  # [1, heads, tokens, tokens]
        shifted = self.shift if any_size else shift_h or shift_w
        mask = None
        if shifted or (self.mask_padding and (any_size or padded != size)):
            mask = window_mask(size if self.mask_padding else padded, padded, window, shift, qkv.dtype, qkv.device)
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu":
            gathered = put_back(self._attend(take_windows(qkv, places), bias, mask), places)
        else:
            gathered = self._attend_in_pieces(qkv, places.of_windows, bias, mask)[:, : height * width]
        y: Tensor = self.project(gathered)
        return y.view(batch, height, width, dim)

    def _attend(self, qkv: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        """What whole windows' tokens gather, [B, windows·tokens, 3·dim] → [B, windows·tokens, dim]."""
        batch, tokens, channels = qkv.shape
        bias = bias if mask is None else bias + mask[:, None]  # [windows, heads, tokens, tokens]
        windows = qkv.view(-1, bias.shape[-1], 3, self.heads, channels // 3 // self.heads)
        return attend(windows, bias).reshape(batch, tokens, channels // 3)

    def _attend_in_pieces(self, qkv: Tensor, of_windows: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        """What each token of a map gathers, [B, tokens, 3·dim] → [B, tokens, dim]; of some windows at a time.

        Of large maps each piece stays in a processor's cache: the same to the last bit in float32, a tenth sooner.
        """
        gathered = qkv.new_empty(*qkv.shape[:2], qkv.shape[2] // 3)
        side = bias.shape[-1]
        count, step = len(of_windows) // side, max(1, CACHED_BYTES // (side * qkv.shape[2] * qkv.element_size()))
        images = max(1, step // count)  # small ones several at a time
        for i in range(0, len(qkv), images):
            for start in range(0, count, step):
                places = of_windows[start * side : (start + step) * side]
                piece = qkv[i : i + images].index_select(1, places)
                found = self._attend(piece, bias, None if mask is None else mask[start : start + step])
                gathered[i : i + images].index_copy_(1, places, found)
        return gathered

    def _fit(self, size: int) -> tuple[int, int, int]:
        """Along one axis of the map: the window's side, the size filled up to whole windows, and the shift."""
        window = min(self.window, size) if self.shrink_window else self.window
        padded = ceil(size, window) * window
        # No shift where one window covers all: the next more have a window, and a window is longer than a shift.
        shift: int = torch.sym_min(self.shift, padded - window) if self.shift else 0  # type: ignore[assignment]  # SymInt
        return window, padded, shift

    def _position_bias(self, window: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """The table spread out to [heads, tokens, tokens]; kept between calls while nothing can learn.

        What is kept holds for one state of the table: ``load_state_dict`` and other writes change its version, a move
        to another device its address. A fused optimiser's step changes neither, so nothing is kept across ``train``,
        a call with gradients, or while a gradient waits. Only writing through ``Tensor.data`` goes unnoticed.
        """
        table = self.bias_table
        if torch.compiler.is_compiling() or not isinstance(table, nn.Parameter):  # functional_call swaps in tensors
            return self._spread_bias(window, dtype)
        if self.training or torch.is_grad_enabled() or table.grad is not None or table.is_inference():
            self._kept_bias = None
            return self._spread_bias(window, dtype)
        state = (id(table), table._version, table.data_ptr(), table.device, table.dtype, window, dtype)
        kept = self._kept_bias
        if kept is None or kept[0] != state:
            held = table, table.detach()  # so that no other tensor can come to lie at their address
            kept = self._kept_bias = (state, self._spread_bias(window, dtype), held)
        return kept[1]

    def train(self, mode: bool = True) -> Self:
        """Train or evaluate from here on, forgetting what was kept."""
        self._kept_bias = None
        return super().train(mode)

    def _spread_bias(self, window: tuple[int, int], dtype: torch.dtype) -> Tensor:
        height, width = window
        index = self.bias_index[:height, :width, :height, :width].flatten()
        bias = self.bias_table.index_select(0, index).view(height * width, height * width, self.heads)
        return bias.permute(2, 0, 1).to(dtype).contiguous()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept_bias": None}  # copies and pickles start without what was kept


class MLP(nn.Sequential):
    """Two linear layers with GELU between them, on each token: [..., dim] → [..., dim]."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(Linear(dim, hidden), nn.GELU(), Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """The tokens, each after both layers."""
        first, between, second = self
        if (
            isinstance(first, Linear)
            and isinstance(second, Linear)
            and type(between) is nn.GELU
            and between.approximate == "none"
            and not is_watched(between, second)
        ):
            hidden = None if is_watched(first) else first.fused_gelu(x)
            y: Tensor = second.of_gelu(first(x)) if hidden is None else second(hidden)
            return y
        for part in self:  # somebody's own, or hooks
            x = part(x)
        return x


def is_watched(*modules: nn.Module) -> bool:
    """Whether hooks wait for what one of them gives, so that it has to be called, and once."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in modules)


class Block(nn.Module):
    """Attention inside windows, then an MLP on each token, each added to what came in: [B, H, W, dim] → the same."""

    def __init__(self, attention: WindowAttention, dim: int, *, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = attention
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """The map after attention and MLP."""
        y: Tensor = x + self.drop_path(self.attention(self.norm1(x)))
        whole = self.training or torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu"
        if whole or is_watched(self.norm2, *self.mlp.modules()):
            residual: Tensor = self.drop_path(self.mlp(self.norm2(y)))
            return y + residual
        tokens = y.view(-1, y.shape[-1])
        for start in range(0, len(tokens), CACHED_TOKENS):
            piece = tokens[start : start + CACHED_TOKENS]
            piece += self.mlp(self.norm2(piece))
        return y


class Stage(nn.Module):
    """Shrink the map (the first stage: cut the image into patches), then run the blocks: one level of the pyramid."""

    def __init__(self, shrink: nn.Module, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.shrink = shrink
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """The level, before any norm; [B, H, W, C] (the first stage takes an image [B, C, H, W])."""
        x = self.shrink(x)
        for block in self.blocks:
            x = block(x)
        return x


class Swin(ImageBackbone):
    """A pyramid of strides patch_size · (1, 2, 4, 8) with embed_dim · (1, 2, 4, 8) channels, for images of any size.

    Args:
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Stages coarser than the last one are not built.
        patch_size: side of a patch of the image, the finest level's stride.
        window: side of an attention window, in tokens.
        embed_dim: channels of the finest level; each further level has twice as many.
        depths: blocks in each stage.
        heads: attention heads in each stage; must divide the stage's channels.
        mlp_ratio: hidden channels of a block's MLP, as a multiple of the stage's channels.
        drop_path: share of residual branches dropped in the last block while training; rises linearly from 0.
        out_norm: give every returned level a LayerNorm of its own.
        mask_padding: see ``WindowAttention``; off, as in the published models.
        shrink_window: see ``WindowAttention``; off, as in the published models.

    Raises ValueError for a combination that can't be built.
    """

    unpublished = ("norms.",)

    def __init__(
        self,
        *,
        in_channels: int = 3,
        levels: Sequence[int] | None = None,
        patch_size: Positive = 4,
        window: Positive = 7,
        embed_dim: Positive = 96,
        depths: Sequence[Positive] = (2, 2, 6, 2),
        heads: Sequence[Positive] = (3, 6, 12, 24),
        mlp_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0,
        drop_path: float = 0.2,
        out_norm: bool = False,
        mask_padding: bool = False,
        shrink_window: bool = False,
    ) -> None:
        super().__init__(in_channels)
        dims = [embed_dim * 2**i for i in range(len(depths))]
        if len(heads) != len(depths) or any(dim % n for dim, n in zip(dims, heads, strict=False)):
            raise ValueError(f"heads is {list(heads)}; expected one divisor for each stage's channels {dims}")
        if patch_size < 1 or window < 1:
            raise ValueError(f"patch_size is {patch_size} and window {window}; expected 1 or more")
        if not 0 <= drop_path <= 1:
            raise ValueError(f"drop_path is {drop_path}; expected a share in 0..1")
        self.levels = select_levels(levels, len(depths))
        self.channels = tuple(dims[i] for i in self.levels)
        self.strides = tuple(patch_size * 2**i for i in self.levels)

        rates = [drop_path * i / max(1, sum(depths) - 1) for i in range(sum(depths))]
        self.layers = nn.ModuleList()
        for i in range(self.levels[-1] + 1):
            dim = dims[i]
            shrink = PatchMerging(dims[i - 1]) if i else PatchEmbedding(in_channels, dim, patch_size)
            blocks = []
            for j in range(depths[i]):
                attention = WindowAttention(
                    dim,
                    heads[i],
                    window,
                    shift=window // 2 if j % 2 else 0,
                    mask_padding=mask_padding,
                    shrink_window=shrink_window,
                )
                blocks.append(Block(attention, dim, mlp_ratio=mlp_ratio, drop_path=rates[sum(depths[:i]) + j]))
            self.layers.append(Stage(shrink, blocks))
        self.norms = nn.ModuleDict({str(i): nn.LayerNorm(dims[i]) for i in self.levels if out_norm})
        self.apply(_initialise)

    @property
    def stages(self) -> list[nn.Module]:
        """The stages, from the image on."""
        return list(self.layers)

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """The selected levels [B, C, H, W], in channels-last memory; before any norm unless ``out_norm``."""
        x, levels = image, []
        for i, stage in enumerate(self.layers):
            x = stage(x)
            if i in self.levels:
                level = self.norms[str(i)](x) if self.norms else x
                levels.append(level.permute(0, 3, 1, 2))
        return levels

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's, timm's or the paper's state dict under this backbone's names; own names pass unchanged."""
        own = swin_names(state)
        norms = tuple(f"norms.{level}." for level in self.norms)
        return {name: own[name] for name in own if name.startswith(norms) or not name.startswith("norms.")}

    def refit(self, name: str, tensor: Tensor) -> Tensor:
        """A position-bias table resampled to this backbone's window, bicubically as in the paper's code."""
        return resample_bias(tensor, len(self.get_parameter(name))) if name.endswith("bias_table") else tensor


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.bias_table, std=0.02)
