"""``segkit config``: what a recipe says once defaults and changes are in, and the schema that editors check it by."""

from typing import Annotated

import typer

from segkit.cli.options import print_json
from segkit.cli.train import Overrides, Recipe

app = typer.Typer(
    help="Show a recipe in full, or the schema of all recipes.",
    no_args_is_help=True,
    epilog="Example: segkit config show demo",
)


@app.command(epilog="Example: segkit config show demo train.epochs=50")
def show(recipe: Recipe, overrides: Overrides = None) -> None:
    """Print a recipe, of training or pretraining, as YAML with every default and change filled in."""
    from segkit.pretraining.recipe import PretrainRecipe
    from segkit.recipe import Recipe as TrainingRecipe
    from segkit.recipe_file import command_for, load_as

    kind = PretrainRecipe if command_for(recipe) == PretrainRecipe.command else TrainingRecipe
    typer.echo(load_as(kind, recipe, overrides or ()).to_yaml(), nl=False)


@app.command(epilog="Example: segkit config schema")
def schema(
    pretraining: Annotated[bool, typer.Option("--pretraining", help="Of recipes for segkit pretrain.")] = False,
) -> None:
    """Print the JSON schema of recipes, for editors."""
    from segkit.pretraining.recipe import PretrainRecipe
    from segkit.recipe import Recipe as TrainingRecipe

    print_json((PretrainRecipe if pretraining else TrainingRecipe).model_json_schema())
