"""How backbones, necks, heads and bridges are created alike: names and options. Imports nothing of the toolkit's."""

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from segkit.own_class import own_class

Positive = Annotated[int, Field(ge=1)]
"""The type of an option that counts something there must be one of at least."""


def find_class(what: str, name: object, classes: Mapping[str, str], package: str) -> Callable[..., Any]:
    """The class of a neck, head or bridge: one of the toolkit's own by name, or one of a user's by its place.

    Args:
        what: ``neck``, ``head`` or ``bridge``; its base class is ``package.what:What``.
        name: of the part.
        classes: ``module:Class`` within the package, by name.
        package: of the toolkit's own.

    Raises ValueError for an unknown name or place.
    """
    if isinstance(name, str) and ":" in name:
        base: type = getattr(import_module(f"{package}.{what}"), what.title())
        return own_class(name, base)
    if not isinstance(name, str) or name not in classes:
        raise ValueError(unknown_name(what, name, classes, "and yours as package.module:Class"))
    module, _, class_name = classes[name].partition(":")
    kind: Callable[..., Any] = getattr(import_module(f"{package}.{module}"), class_name)
    return kind


def unknown_name(what: str, name: object, known: Collection[str], also: str) -> str:
    """The message for a name that nothing has, with the nearest one."""
    if not isinstance(name, str):
        return f"the {what}'s name is {name!r}; expected one of {', '.join(known)}, {also}"
    return f"no {what} is called '{name}'{did_you_mean(name, known)} All: {', '.join(known)}, {also}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """``; did you mean 'x'?``, or a full stop where nothing is near."""
    near = get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else "."


def checked_options(
    title: str,
    kind: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    given: Sequence[str] = (),
    also: Sequence[str] = (),
) -> dict[str, Any]:
    """A class's options, each of the type that its constructor names; numbers of NumPy become Python's.

    Args:
        title: of the part in messages, ``neck 'fpn'``.
        kind: the class.
        options: to check.
        given: the constructor's parameters that are no options.
        also: further names that are taken, and that a typing error may have meant; of the constructor's own among them
            nothing is said.

    Raises ValueError for an option that the constructor doesn't take, unless it takes any, for one that is missing, and
    for a value of another type.
    """
    parameters = _signature(kind).parameters.values()
    accepted = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)  # a class that looks after them itself
    own = [name for name in accepted if name not in given and name not in also]
    types = {p.name: Any if p.annotation is p.empty else p.annotation for p in parameters}
    checked = {}
    for option, value in options.items():
        if option in given or not (option in accepted or takes_any):
            near = get_close_matches(option, [*own, *also], n=1)
            hint = f". Did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"{title} has no option '{option}'; it takes: {', '.join(own) or 'none of its own'}{hint}")
        checked[option] = _checked(title, option, plain(value), types.get(option, Any))
    needed = [p.name for p in parameters if p.name in accepted and p.default is p.empty and p.name not in given]
    missing = [name for name in needed if name not in options]
    if missing:
        raise ValueError(f"{title} needs the option '{missing[0]}'")
    return checked


def _signature(kind: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(kind, eval_str=True)
    except NameError:  # a user's class whose hints are for checkers alone
        signature = inspect.signature(kind)
        untyped = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        return signature.replace(parameters=untyped)


def _checked(title: str, option: str, value: Any, wanted: Any) -> Any:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(wanted, config=ConfigDict(strict=True))
    except PydanticSchemaGenerationError:  # a type that nobody can be held to
        return value
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]
        expected = "a list" if problem["type"] == "sequence_str" else problem["msg"].removeprefix("Input should be ")
        expected = re.sub(r"^greater than or equal to (.+)", r"\1 or more", expected)
        expected = expected.replace("an instance of Sequence", "a list")
        raise ValueError(f"{title}: {option} is {value!r}; expected {expected}") from None
    return value


def plain(value: Any) -> Any:
    """Numbers of NumPy as Python's, ranges and arrays as lists: what a saved model can say again."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, range | tuple | list):
        return [plain(item) for item in value]
    return value
