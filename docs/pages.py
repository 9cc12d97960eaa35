"""What the site has beside the files of docs/: README.md in front, CHANGELOG.md, keys of recipes, help of commands."""

import json
from pathlib import Path
from typing import Any

import click
import typer

ROOT = Path(__file__).parent.parent
COMMANDS, RECIPES = "<!-- commands -->", "<!-- recipes -->"


def on_startup(**_: Any) -> None:
    """Put the packages together by links, as the wheel does: the reference is read from files, not by imports."""
    whole = ROOT / "build" / "whole" / "segkit"
    whole.mkdir(parents=True, exist_ok=True)
    for part in [*(ROOT / "segkit").iterdir(), *(ROOT / name for name in ("backbones", "necks", "heads", "configs"))]:
        if not (whole / part.name).exists():
            (whole / part.name).symlink_to(part)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text of a page as it is shown; mkdocs calls this for each."""
    if page.file.src_uri == "index.md":
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        return text.replace("](docs/", "](").replace("](CHANGELOG.md)", "](changelog.md)")
    if page.file.src_uri == "changelog.md":
        return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for mark, made in ((COMMANDS, command_help), (RECIPES, recipe_keys)):
        if mark in markdown:
            return markdown.replace(mark, made())
    return markdown


def command_help() -> str:
    """A heading and the help of every command, with those of its own commands below it."""
    from segkit.cli.main import app

    command: Any = typer.main.get_command(app)
    return "\n".join(_sections(command, typer.Context(command, info_name="segkit")))


def _sections(command: Any, context: click.Context) -> list[str]:
    found = [f"## {context.command_path}\n\n{command.help or ''}\n"]
    for parameter in command.get_params(context):
        said = parameter.get_help_record(context)
        if said is not None:
            found.append(f"- `{said[0]}`: {said[1]}" if said[1] else f"- `{said[0]}`")
    if command.epilog:
        found.append(f"\n{command.epilog}\n")
    for name in command.list_commands(context) if hasattr(command, "list_commands") else []:
        own = command.get_command(context, name)
        found += ["", *_sections(own, type(context)(own, info_name=name, parent=context))]
    return found


def recipe_keys() -> str:
    """A table for every section of both kinds of recipes: keys, what they may be, defaults, meaning."""
    from segkit.pretraining.recipe import PretrainRecipe
    from segkit.recipe import Recipe

    parts = []
    for title, recipe in (("Segmentation", Recipe), ("Pretraining", PretrainRecipe)):
        schema = recipe.model_json_schema()
        parts.append(f"## {title}\n")
        for name, section in {recipe.__name__: schema, **schema["$defs"]}.items():
            parts += [f"### {name}\n", f"{section.get('description', '')}\n"] if "properties" in section else []
            parts += _table(section["properties"]) if "properties" in section else []
    return "\n".join(parts)


def _table(keys: dict[str, Any]) -> list[str]:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, said in keys.items():
        default = f"`{json.dumps(said['default'])}`" if "default" in said else "required"
        default = "its own" if "$ref" in said and "default" in said else default
        rows.append(f"| `{name}` | {_type(said)} | {default} | {said.get('description', '')} |".replace("\n", " "))
    return [*rows, ""]


def _type(said: dict[str, Any]) -> str:
    """A JSON schema's type in a few words."""
    if "$ref" in said:
        return str(said["$ref"]).rsplit("/", 1)[-1]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in said:
            return " or ".join(dict.fromkeys(_type(each) for each in said[choice]))
    if "enum" in said or "const" in said:
        return ", ".join(f"`{json.dumps(each)}`" for each in said.get("enum", [said.get("const")]))
    kind = str(said.get("type", "any"))
    if kind == "array" and "items" in said:
        return f"list of {_type(said['items'])}"
    return kind
