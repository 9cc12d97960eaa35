"""A part of one's own, by the place of its class: ``package.module:Class``. Imports nothing of the toolkit."""

import inspect
import re
from difflib import get_close_matches
from importlib import import_module
from typing import Any

PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def own_class(place: str, base: type) -> type[Any]:
    """The subclass of ``base`` (a Backbone, Neck, Head, Bridge or Loss) at ``package.module:Class``, which is imported.

    Raises ValueError where that isn't a place, the module can't be imported, or has no such subclass.
    """
    what = base.__name__.lower()
    if not PLACE.fullmatch(place):
        raise ValueError(f"{what} '{place}': expected 'package.module:Class'")
    module_name, _, class_name = place.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:  # whatever a module of somebody's does when it is run
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            message = (
                f"no module '{error.name}' here; install its package, or put the folder that it lies in on PYTHONPATH"
            )
        else:
            message = f"'{module_name}' can't be imported ({type(error).__name__}: {' '.join(str(error).split())})"
        raise ValueError(f"{what} '{place}': {message}") from error
    kind = getattr(module, class_name, None)
    if kind is None:
        there = [name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, base)]
        near = get_close_matches(class_name, there, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"{what} '{place}': '{module_name}' has no class '{class_name}'{hint}")
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise ValueError(f"{what} '{place}': expected a subclass of {base.__module__}.{base.__name__}")
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(vars(kind)["__abstractmethods__"]))
        raise ValueError(f"{what} '{place}': the class is unfinished, it has no {missing}")
    return kind
