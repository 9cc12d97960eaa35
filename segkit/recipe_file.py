"""A recipe read from YAML, with ``key=value`` overrides, and what is said of a wrong one."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from segkit.errors import RecipeError, UsageError
from segkit.nearest import nearest
from segkit.one_line import found_there
from segkit.recipe import Recipe
from segkit.sections import Part, RunRecipe
from segkit.yaml_text import parse_keys, read_yaml

AnyRecipe = TypeVar("AnyRecipe", bound=RunRecipe)
OWN = {  # sections that recipes of one command have, and of no other
    "segkit train": ("ensemble", "loss", "predict", "folds", "seeds", "teacher", "class_weights"),
    "segkit pretrain": ("classify", "colour_depth", "captions"),
}
FOLDERS = {"segkit train": ".", "segkit pretrain": "pretraining"}  # of shipped recipes, within the toolkit's


def recipe_names(folder: str = ".") -> list[str]:
    """Names of the recipes shipped with the toolkit, sorted; ``pretraining`` is the folder of others."""
    place = resources.files("segkit.configs").joinpath(folder)
    return sorted(entry.name.removesuffix(".yaml") for entry in place.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(
    source: str | Path | Recipe, overrides: Sequence[str] = (), *, data: str | Path | None = None
) -> Recipe:
    """Give the checked recipe of a training run: :func:`load_as` of that kind."""
    return load_as(Recipe, source, overrides, data=data)


def command_for(source: str | Path) -> str | None:
    """The command that runs a recipe, by the shipped ones' places and by the sections of a file; None: can't be told.

    Raises:
        RecipeError, UsageError: as :func:`load_as`.
    """
    if Path(source).suffix in (".yaml", ".yml"):
        return _command_of(_parse(str(source), _text(Path(source))))
    return next((command for command, folder in FOLDERS.items() if str(source) in recipe_names(folder)), None)


def load_as(
    kind: type[AnyRecipe],
    source: str | Path | AnyRecipe,
    overrides: Sequence[str] = (),
    *,
    data: str | Path | None = None,
) -> AnyRecipe:
    """Give the checked recipe of a file, a shipped recipe's name, or a recipe, after ``key=value`` overrides.

    Args:
        kind: of recipe.
        source: path of a YAML file, the name of a shipped recipe, or a recipe.
        overrides: dotted keys with YAML values: ``train.epochs=50``, ``ensemble.members.0.neck=fpn``.
        data: the dataset's folder, for ``data.path``.

    Raises:
        RecipeError: naming the file, the key, what is wrong and the nearest right name.
        UsageError: no such file or recipe.
    """
    if isinstance(source, RunRecipe):
        where, values = source.name, source.model_dump()
    else:
        where, values = _read(source, kind)
    values = _own(values)
    for override in overrides:
        _apply(values, override, kind)
    if data is not None:
        values.setdefault("data", {})
        if isinstance(values["data"], dict):
            values["data"]["path"] = str(data)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_explain(where, error, kind)) from None


def _read(source: str | Path, kind: type[RunRecipe]) -> tuple[str, dict[str, Any]]:
    path, names = Path(source), recipe_names(FOLDERS[kind.command])
    if path.suffix in (".yaml", ".yml"):
        where, text = str(path), _text(path)
    elif str(source) in names:
        where = f"{source}.yaml"
        text = resources.files("segkit.configs").joinpath(FOLDERS[kind.command], where).read_text(encoding="utf-8")
    else:
        other = command_for(source)
        if other is not None:
            raise UsageError(f"recipe {str(source)!r} is for {other}, not {kind.command}")
        if (path / "images").is_dir():
            raise UsageError(f"{source}: a dataset, where a recipe is expected")
        raise UsageError(f"no recipe {str(source)!r}{nearest(str(source), names)} (or give a .yaml file)")
    values = _parse(where, text)
    command = _command_of(values)
    if command not in (None, kind.command):
        raise RecipeError(f"{where}: a recipe for {command}, not {kind.command}")
    return where, values


def _text(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"{path}: no such recipe file")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a readable text file ({error})") from None


def _command_of(values: Mapping[str, Any]) -> str | None:
    """The command whose own sections are there; None where there are none, or of several."""
    found = [command for command, sections in OWN.items() if any(section in values for section in sections)]
    return found[0] if len(found) == 1 else None


def _parse(where: str, text: str) -> dict[str, Any]:
    return parse_keys(text, where, "'name:' and 'model:'", RecipeError)


def _own(value: Any) -> Any:
    """The value with each list and section its own: by YAML's anchors members may share them."""
    if isinstance(value, dict):
        return {key: _own(each) for key, each in value.items()}
    return [_own(each) for each in value] if isinstance(value, list) else value


def _default(kind: type[BaseModel], path: Sequence[str]) -> dict[str, Any]:
    """What holds for a section that a recipe doesn't name, as far as keys of it are changed; else nothing."""
    default: Any = None
    for name in path:
        if name.isdigit():
            continue
        field = kind.model_fields.get(name)
        if field is None:
            return {}
        default = field.get_default(call_default_factory=True)
        kind = next(_models(field.annotation), kind)
    if isinstance(default, Part):
        return default.model_dump()
    return _own(default) if isinstance(default, dict) else {}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections in a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)


def _apply(values: dict[str, Any], override: str, kind: type[RunRecipe]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"override {override!r}: expected key=value, as in train.epochs=50")
    if not text:
        raise UsageError(f"override {override!r}: no value; is a variable unset? (null for none)")
    try:
        value = read_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UsageError(f"override {override!r}: {text!r} is not a valid YAML value") from None
    *parents, last = key.split(".")
    if parents and parents[0] == "name":
        raise UsageError(f"override {override!r}: name is a value, it has no keys")
    place: Any = values
    for step, parent in enumerate(parents):
        if isinstance(place, dict) and isinstance(place.get(parent), str):
            place[parent] = {"name": place[parent]}  # `backbone: swin_tiny` is short for `backbone: {name: swin_tiny}`
        if isinstance(place, dict) and place.get(parent) is None:
            place[parent] = _default(kind, parents[: step + 1])
        place = _child(place, parent, ".".join(parents[: step + 1]))
    if isinstance(place, list):
        _child(place, last, key)
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise UsageError(f"override {override!r}: {'.'.join(parents)} is a value, it has no keys")


def _child(place: Any, key: str, path: str) -> Any:
    if isinstance(place, list):
        if not key.isdigit() or int(key) >= len(place):
            raise UsageError(f"override {path}: expected an index from 0 to {len(place) - 1}")
        return place[int(key)]
    if not isinstance(place, dict):
        raise UsageError(f"override {path}: there is a value where a section was expected")
    return place[key]


def _explain(where: str, error: ValidationError, kind: type[BaseModel]) -> str:
    """The first few problems as one line: file, key, what is wrong, the nearest right one."""
    lines: dict[str, str] = {}  # by key; where a key may be of several kinds, each says what it expected
    for problem in error.errors():
        pydantics = ("function-after", "constrained-int")  # its words for how it looks, not keys
        location = [part for part in problem["loc"] if not str(part).endswith(("]", ")")) and part not in pydantics]
        key = ".".join(str(part) for part in location)
        if problem["type"] == "extra_forbidden":
            hint = nearest(str(location[-1]), _fields_at(location[:-1], kind))
            lines[key] = f"{key}: no such key{hint}"
        elif problem["type"] == "missing":
            lines[key] = f"{key}: missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "model_type":
                message = f"expected keys and values, as {{{', '.join(_fields_at(location, kind)[:3])}}}"
            elif problem["type"] == "string_pattern_mismatch":
                marks = "'_', '-' and '.'" if "." in problem["ctx"]["pattern"] else "'_' and '-'"
                message = f"expected letters, digits, {marks} alone, a letter or digit first"
            found = found_there(problem["input"]) if problem["type"] != "value_error" else ""
            if key in lines:
                lines[key] = f"{lines[key].removesuffix(found)}, or {message.removeprefix('Input should be ')}{found}"
            else:
                lines[key] = f"{key}: {message}{found}" if key else message
    more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
    return f"{where}: " + "; ".join(list(lines.values())[:3]) + more


def _fields_at(location: Sequence[str | int], kind: type[BaseModel]) -> list[str]:
    """Keys of the recipe's section at a place like ("ensemble", "members", 0)."""
    section = kind
    for step in location:
        field = section.model_fields.get(str(step))
        if field is None:
            continue
        found = [kind for kind in _models_in(field.annotation) if issubclass(kind, BaseModel)]
        if found:
            section = found[0]
    return list(section.model_fields)


def _models_in(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for argument in get_args(annotation) for kind in _models_in(argument)]
