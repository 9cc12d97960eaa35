"""How far our backbones' maps are from their references', with the references' weights in ours.

    python benchmarks/parity.py

Each row is the largest absolute difference over all levels, float32, random weights whose norms, biases and tables are
stirred, one random image. Where an image's sides don't divide by the patch, the reference is given the zeros that ours
fills up with. timm and HF transformers are compared where every map is at least a window and sides divide: elsewhere
timm rolls before it pads. HF's backbone shifts even where one window covers the whole map, as in the last level of
these images, which is left out. Networks whose convolutions torchvision doesn't pad are compared away from the
borders; the others have no such limit. Results go to ``benchmarks/results/parity.json`` and, as the table of
``docs/results.md``, to the screen; some minutes on two cores. `pip install transformers` first.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from machine import machine
from swin_peers import TimmLevels, TorchvisionLevels, readable_state, stir, timm_swin, transformers_swin
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformer as TorchvisionSwin

from segkit import backbones

RESULTS = Path(__file__).parent / "results" / "parity.json"
Size = tuple[int, int]
Row = dict[str, Any]

# How far torchvision's unpadded grids begin before ours, in pixels; where its levels are taken; pixels left out around.
UNPADDED = {
    "alexnet": (15, ("features.1", "features.4", "features.11"), 5),
    "squeezenet1_1": (15, ("features.1", "features.4", "features.7", "features.12"), 7),
    "inception_v3": (37, ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d"), 9),
}
BEGINS = {  # theirs answers at stride · o + this, for o = 0, 1, …
    "alexnet": (3, 7, 15),
    "squeezenet1_1": (1, 3, 7, 15),
    "inception_v3": (3, 9, 13),
}
PADDED = {
    **{f"resnet{depth}": ("relu", "layer1", "layer2", "layer3", "layer4") for depth in (18, 34, 50, 101, 152)},
    "vgg19_bn": ("features.5", "features.12", "features.25", "features.38", "features.51"),
    "densenet121": ("features.norm5",),
    "densenet201": ("features.norm5",),
}


def main() -> None:
    rows = []
    for row in measured():
        rows.append(row)
        print(line(row), flush=True)
    versions = {name: version(name) for name in ("torchvision", "timm", "transformers")}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": rows, "peers": versions, "machine": machine()}, indent=1) + "\n")


def line(row: Row) -> str:
    return f"| {row['ours']} | {row['reference']} | {row['image']} | {row['difference']:.1e} | {row['largest']:.3g} |"


def measured() -> Iterator[Row]:
    print("| ours | reference | image | largest difference | largest value |\n|---|---|---|---|---|")
    yield from torchvision_swins()
    yield from timm_and_transformers()
    yield from papers_layout()
    yield from small_presets()
    yield from convolutional()


def torchvision_swins() -> Iterator[Row]:
    for name, theirs in (("swin_tiny", "swin_t"), ("swin_small", "swin_s"), ("swin_base", "swin_b")):
        peer = stir(TorchvisionLevels(torchvision.models.get_model(theirs, weights=None)))
        ours = backbones.create(name, weights=readable_state(peer)).eval()
        for size in ((224, 224), (256, 256), (300, 301), (97, 513)):
            yield compared(name, ours, f"torchvision {theirs}", peer, size, patch=4)


def timm_and_transformers() -> Iterator[Row]:
    cases = (
        ("swin_tiny", "swin_tiny_patch4_window7_224", 7, 224),
        ("swin_small", "swin_small_patch4_window7_224", 7, 224),
        ("swin_base", "swin_base_patch4_window12_384", 12, 384),
        ("swin_large", "swin_large_patch4_window7_224", 7, 224),
        ("swin_large", "swin_large_patch4_window12_384", 12, 384),
    )
    for name, theirs, window, side in cases:
        shape = f"{name}, window {window}"
        peer: nn.Module = stir(timm_swin(side, theirs))
        ours = backbones.create(name, window=window, weights=readable_state(peer)).eval()
        yield compared(shape, ours, "timm", peer, (side, side))
        depths = [len(stage.blocks) for stage in ours.stages]
        peer = stir(transformers_swin(side, window, ours.channels[0], depths))
        ours = backbones.create(name, window=window, weights=readable_state(peer)).eval()
        yield compared(shape, ours, "HF transformers, but the last level", peer, (side, side), levels=3)


def papers_layout() -> Iterator[Row]:
    """The paper's code shrinks a map at the end of a stage, and keeps tables and masks that follow from sizes."""
    peer = stir(timm_swin(224))
    state = {}
    for name, tensor in readable_state(peer).items():
        found = re.match(r"layers\.(\d)\.downsample\.(.*)", name)
        state[f"layers.{int(found[1]) - 1}.downsample.{found[2]}" if found else name] = tensor
    state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    ours = backbones.create("swin_tiny", weights=state).eval()
    yield compared("swin_tiny, from the paper's layout", ours, "timm", peer, (224, 224))


def small_presets() -> Iterator[Row]:
    """With maps of at least a window as torchvision's; with smaller ones, to which the window shrinks, as timm's."""
    cifar = {"depths": [2, 6, 4], "num_heads": [3, 6, 12], "mlp_ratio": 2.0}
    imagenet = {"depths": [2, 2, 6, 2], "num_heads": [2, 4, 8, 16], "mlp_ratio": 4.0}
    for name, patch, window, whole, shrunk, shape in (
        ("swin_cifar10", 2, 4, 32, 16, cifar),
        ("swin_tiny_imagenet", 4, 7, 224, 56, imagenet),
    ):
        options = {"embed_dim": 96, **shape}
        peer: nn.Module = stir(TorchvisionLevels(TorchvisionSwin([patch, patch], window_size=[window] * 2, **options)))
        ours = backbones.create(name, weights=readable_state(peer)).eval()
        yield compared(name, ours, "torchvision, the same shape", peer, (whole, whole))

        network = TimmSwin(img_size=shrunk, patch_size=patch, window_size=window, num_classes=0, **options)
        peer = stir(TimmMaps(network))
        ours = backbones.create(name, weights=with_whole_tables(readable_state(peer), window)).eval()
        yield compared(f"{name}, windows shrunk", ours, "timm, the same shape", peer, (shrunk, shrunk))


class TimmMaps(TimmLevels):
    """timm's whole network, asked for the maps between its stages."""

    def forward(self, x: Tensor) -> list[Tensor]:
        levels: list[Tensor] = self.network.forward_intermediates(x, intermediates_only=True)
        return levels


def with_whole_tables(state: Mapping[str, Tensor], window: int) -> dict[str, Tensor]:
    """timm's tables of shrunken windows in the middle of ones for the full window; the rest would show if read."""
    found = {}
    for name, table in state.items():
        if name.endswith("relative_position_bias_table"):
            side, whole = round(len(table) ** 0.5), 2 * window - 1
            edge = (whole - side) // 2
            square = F.pad(table.T.reshape(-1, side, side), (edge,) * 4, value=1e6)
            table = square.flatten(1).T
        found[name] = table
    return found


def convolutional() -> Iterator[Row]:
    for name in (*PADDED, *UNPADDED):
        peer = torchvision.models.get_model(name, weights=None).eval()
        ours = backbones.create(name, weights=peer.state_dict(), levels=levels_of(name)).eval()
        image = torch.randn(1, 3, 289, 307) if name in UNPADDED else torch.randn(1, 3, 128, 160)
        begin, places, margin = UNPADDED.get(name, (0, PADDED.get(name, ()), 0))
        with torch.inference_mode():
            theirs = maps_at(peer, places, F.pad(image, (begin, 0, begin, 0)))
            mine = ours(image)
        if name.startswith("densenet"):  # the last level is normalised and rectified, as torchvision's end is
            theirs, mine = [theirs[0].relu()], mine[-1:]
        pairs = zip(mine, theirs, strict=True)
        if name in UNPADDED:
            strides = ours.strides
            shifts = [(begin - first) // stride for first, stride in zip(BEGINS[name], strides, strict=True)]
            pairs = (interior(a, b, shift, margin) for (a, b), shift in zip(pairs, shifts, strict=True))
        where = f"away from borders, strides {', '.join(map(str, ours.strides))}" if name in UNPADDED else "all levels"
        where = "the last level" if name.startswith("densenet") else where
        yield row(f"{name}, {where}", "torchvision", tuple(image.shape[2:]), list(pairs))


def levels_of(name: str) -> Sequence[int] | None:
    """Inception sees so far that only its fine levels have an interior in an image of this size."""
    return (0, 1, 2) if name == "inception_v3" else None


def maps_at(network: nn.Module, places: Sequence[str], image: Tensor) -> list[Tensor]:
    """What the parts of those names put out, each the first time that it runs."""
    maps: dict[str, Tensor] = {}
    for place in places:

        def note(_part: nn.Module, _given: Any, output: Tensor, place: str = place) -> None:
            maps.setdefault(place, output.clone())

        network.get_submodule(place).register_forward_hook(note)
    network(image)
    return [maps[place] for place in places]


def interior(ours: Tensor, theirs: Tensor, shift: int, margin: int) -> tuple[Tensor, Tensor]:
    """Our map and theirs, which is ``shift`` pixels ahead, without ``margin`` pixels around."""
    rows, columns = (min(a, b - shift) for a, b in zip(ours.shape[2:], theirs.shape[2:], strict=True))
    mine = ours[..., margin : rows - margin, margin : columns - margin]
    return mine, theirs[..., margin + shift : rows - margin + shift, margin + shift : columns - margin + shift]


def compared(
    ours: str,
    swin: nn.Module,
    reference: str,
    peer: nn.Module,
    size: Size,
    *,
    patch: int = 1,
    levels: int | None = None,
) -> Row:
    image = torch.randn(1, 3, *size)
    with torch.inference_mode():
        theirs = peer(F.pad(image, (0, -size[1] % patch, 0, -size[0] % patch)))
        return row(ours, reference, size, list(zip(swin(image), theirs, strict=True))[:levels])


def row(ours: str, reference: str, size: Size, pairs: Sequence[tuple[Tensor, Tensor]]) -> Row:
    """The largest difference over all levels, and the largest value to hold it against."""
    return {
        "ours": ours,
        "reference": reference,
        "image": f"{size[0]}×{size[1]}",
        "difference": max(float((a - b).abs().max()) for a, b in pairs),
        "largest": max(float(b.abs().max()) for _, b in pairs),
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
