"""``segkit models``: the parts that a recipe can name, with their sizes, and the recipes shipped."""

from segkit.cli.options import Json, print_json

EPILOG = "Example: segkit models"
EXAMPLE = "swin_tiny"  # necks and heads have no size of their own: it depends on what they are put on


def models(as_json: Json = False) -> None:
    """List backbones, necks and heads with their parameters, and the shipped recipes."""
    parts, recipes = catalogue()
    if as_json:
        print_json({**parts, "recipes": recipes})
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for kind, rows in parts.items():
        table = Table(title=kind, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
        for column in rows[0]:
            table.add_column(column, justify="right" if column == "parameters" else "left", header_style="dim")
        for row in rows:
            table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
        console.print(table, "")
    console.print("[bold]recipes[/bold]", *(f"  {name}" for name in recipes), sep="\n")


def catalogue() -> tuple[dict[str, list[dict[str, object]]], list[str]]:
    """Backbones, necks and heads with parameter counts (built without memory for their weights), and recipes."""
    import torch

    from segkit import backbones, heads, necks
    from segkit.recipe_file import recipe_names

    def size(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    with torch.device("meta"):
        built = {name: backbones.create(name) for name in backbones.names()}
        pyramid = built[EXAMPLE]
        fused = {name: necks.create(name, pyramid.channels, pyramid.strides) for name in necks.names()}
        first = fused[next(iter(fused))]
        tops = {name: heads.create(name, first.channels[0], first.strides[0], classes=1) for name in heads.names()}
    of = f"on {EXAMPLE}"
    return {
        "backbones": [
            {"name": name, "parameters": size(part), "strides": list(part.strides), "channels": list(part.channels)}
            for name, part in built.items()
        ],
        "necks": [{"name": name, "parameters": size(part), "counted": of} for name, part in fused.items()],
        "heads": [{"name": name, "parameters": size(part), "counted": of} for name, part in tops.items()],
    }, recipe_names()
