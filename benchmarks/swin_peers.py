"""The peers' Swins as pyramids: levels [B, C, h, w] before any norm, and their weights under names that ours reads."""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

# What HF calls otherwise than timm.
HF_NAMES = {
    r"^swin\.": "",
    r"^layernorm\.": "norm.",
    r"^embeddings\.patch_embeddings\.projection": "patch_embed.proj",
    r"^embeddings\.norm": "patch_embed.norm",
    r"^encoder\.layers\.(\d+)\.downsample": lambda found: f"layers.{int(found[1]) + 1}.downsample",
    r"^encoder\.": "",
    r"attention\.o_proj": "attn.proj",
    r"attention\.relative_position_bias\.": "attn.",
    r"layernorm_before": "norm1",
    r"layernorm_after": "norm2",
}


def segkit_swin(_side: int) -> nn.Module:
    from segkit import backbones

    return backbones.create("swin_tiny", drop_path=0.0)


def torchvision_swin(_side: int) -> nn.Module:
    from torchvision.models.swin_transformer import SwinTransformer

    return TorchvisionLevels(SwinTransformer([4, 4], 96, [2, 2, 6, 2], [3, 6, 12, 24], [7, 7], stochastic_depth_prob=0))


def timm_swin(side: int, name: str = "swin_tiny_patch4_window7_224") -> nn.Module:
    import timm

    return TimmLevels(timm.create_model(name, features_only=True, img_size=side, drop_path_rate=0.0))


def transformers_swin(side: int, window: int = 7, width: int = 96, depths: Sequence[int] = (2, 2, 6, 2)) -> nn.Module:
    from transformers import SwinBackbone, SwinConfig

    config = SwinConfig(
        image_size=side,
        window_size=window,
        embed_dim=width,
        depths=list(depths),
        num_heads=[width // 32 * 2**i for i in range(4)],
        drop_path_rate=0.0,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    return TransformersLevels(SwinBackbone(config))


SWINS: dict[str, Callable[[int], nn.Module]] = {
    "segkit": segkit_swin,
    "timm": timm_swin,
    "torchvision": torchvision_swin,
    "transformers": transformers_swin,
}


class TorchvisionLevels(nn.Module):
    """torchvision's Swin has no pyramid of its own: the outputs of its stages are taken."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.features = network.features

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = []
        for i, part in enumerate(self.features):
            x = part(x)
            if i % 2:
                levels.append(x.permute(0, 3, 1, 2))
        return levels


class TimmLevels(nn.Module):
    """timm's features are [B, h, w, C]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        return [level.permute(0, 3, 1, 2) for level in self.network(x)]


class TransformersLevels(nn.Module):
    """HF's backbone norms every level; the norms are taken out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for name in network.hidden_states_norms:
            network.hidden_states_norms[name] = nn.Identity()
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.network(x).feature_maps)


def stir(network: nn.Module) -> nn.Module:
    """The network in eval mode, its norms, biases and tables no longer at the values that they start from."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1 or parameter.shape[0] % 13 == 0:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


def readable_state(network: nn.Module) -> dict[str, Tensor]:
    """The peer's weights in a layout that ``segkit.backbones`` reads: torchvision's as it is, the others as timm's."""
    state = {name.removeprefix("network."): tensor for name, tensor in network.state_dict().items()}
    if isinstance(network, TransformersLevels):
        state = _timm_layout(state)
    return {re.sub(r"^layers_", "layers.", name): tensor for name, tensor in state.items()}


def _timm_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """HF's three projections of a block stacked to one, and timm's names."""
    found = {}
    for name, tensor in state.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            tensor = torch.cat([state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
            name = name.replace("attention.q_proj", "attn.qkv")
        for pattern, replacement in HF_NAMES.items():
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    return found
