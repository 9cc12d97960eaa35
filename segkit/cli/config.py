"""``segkit config``: what a recipe says once defaults and changes are in, and the schema that editors check it by."""

import typer

from segkit.cli.options import print_json
from segkit.cli.train import Overrides, Recipe

app = typer.Typer(help="Show a recipe in full, or the schema of all recipes.", no_args_is_help=True)


@app.command(epilog="Example: segkit config show demo train.epochs=50")
def show(recipe: Recipe, overrides: Overrides = None) -> None:
    """Print a recipe as YAML with every default and change filled in."""
    from segkit.recipe_file import load_recipe

    typer.echo(load_recipe(recipe, overrides or ()).to_yaml(), nl=False)


@app.command(epilog="Example: segkit config schema")
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from segkit.recipe import Recipe as Model

    print_json(Model.model_json_schema())
