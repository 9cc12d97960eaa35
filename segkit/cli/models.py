"""``segkit models``: the parts that a recipe can name, with their sizes, and the recipes shipped."""

from typing import TYPE_CHECKING, Literal

from segkit.cli.options import Json, print_json

if TYPE_CHECKING:  # torch takes a while to import, and other commands don't need it
    from torch import nn

EPILOG = "Example: segkit models"
# Necks, heads and bridges have no size of their own: it depends on what they are put on.
EXAMPLE = "swin_tiny"
COLOUR, DEPTH, SIDE = "resnet50", "resnet18", 512  # for bridges; operations depend on the image's size too


def models(as_json: Json = False) -> None:
    """List backbones, necks, heads and bridges with their parameters, and the shipped recipes."""
    from segkit.recipe_file import recipe_names

    parts, recipes = catalogue()
    pretraining = recipe_names("pretraining")
    if as_json:
        print_json({**parts, "recipes": recipes, "pretraining_recipes": pretraining})
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for kind, rows in parts.items():
        table = Table(title=kind, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
        for column in rows[0]:
            justify: Literal["left", "right"] = "right" if column in ("parameters", "flops") else "left"
            table.add_column(column, justify=justify, header_style="dim")
        for row in rows:
            table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
        console.print(table, "")
    for title, names in (("recipes", recipes), ("recipes for segkit pretrain", pretraining)):
        console.print(f"[bold]{title}[/bold]", *(f"  {name}" for name in names), sep="\n")


def catalogue() -> tuple[dict[str, list[dict[str, object]]], list[str]]:
    """Backbones, necks, heads and bridges with parameter counts (built without memory for their weights), and recipes.

    Bridges have the floating-point operations of their convolutions and products too, each multiply-add counted as two.
    """
    import torch

    from segkit import backbones, heads, necks
    from segkit.recipe_file import recipe_names

    with torch.device("meta"):
        built = {name: backbones.create(name) for name in backbones.names()}
        pyramid = built[EXAMPLE]
        fused = {name: necks.create(name, pyramid.channels, pyramid.strides) for name in necks.names()}
        first = fused[next(iter(fused))]
        tops = {name: heads.create(name, first.channels[0], first.strides[0], classes=1) for name in heads.names()}
        between = _bridges()
    of = f"on {EXAMPLE}"
    return {
        "backbones": [
            {"name": name, "parameters": _size(part), "strides": list(part.strides), "channels": list(part.channels)}
            for name, part in built.items()
        ],
        "necks": [{"name": name, "parameters": _size(part), "counted": of} for name, part in fused.items()],
        "heads": [{"name": name, "parameters": _size(part), "counted": of} for name, part in tops.items()],
        "bridges": between,
    }, recipe_names()


def _size(module: "nn.Module") -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _bridges() -> list[dict[str, object]]:
    """Each bridge on the levels where it is used unless told otherwise; on the meta device nothing is computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from segkit import backbones
    from segkit.backbones.backbone import ceil
    from segkit.backbones.bridged import bridged_levels, nearest_level
    from segkit.necks import bridges

    colour, depth = backbones.create(COLOUR), backbones.create(DEPTH, in_channels=2)
    rows: list[dict[str, object]] = []
    for name in bridges.names():
        parameters = operations = 0
        levels = bridged_levels(colour.strides, depth.strides, coarsest=bridges.coarsest(name))
        for i in levels:
            ours, theirs = colour.channels[i], depth.channels[nearest_level(colour.strides[i], depth.strides)]
            bridge, side = bridges.create(name, colour=ours, depth=theirs).eval(), ceil(SIDE, colour.strides[i])
            with FlopCounterMode(display=False) as counter:
                bridge(*(torch.empty(1, channels, side, side) for channels in (ours, theirs, 1)))
            parameters += _size(bridge)
            operations += counter.get_total_flops()
        counted = f"{COLOUR} with {DEPTH} for depth, {SIDE}×{SIDE}"
        strides = [colour.strides[i] for i in levels]
        rows.append(
            {"name": name, "parameters": parameters, "flops": operations, "strides": strides, "counted": counted}
        )
    return rows
