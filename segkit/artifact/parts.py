"""What a saved architecture may ask for: parts by name, no weights from elsewhere, no code that isn't imported yet."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from segkit.errors import ModelError

LIBRARIES = ("timm", "smp")  # 'timm:NAME' is a name of the toolkit's own, not a module and its class


def check_parts(path: Path, member: str, architecture: Mapping[str, Any], kinds: Iterable[str]) -> None:
    """Raise ModelError where a part of an architecture is not to be followed.

    Importing a module runs it, and which one is run must not be for a downloaded file to choose.

    Args:
        path: the model, as messages call it.
        member: whose architecture it is.
        architecture: parts by kind, each a name or ``{"name": …, option: value}``.
        kinds: which of its keys are parts.
    """
    for kind in kinds:
        for part in _parts(architecture[kind]) if kind in architecture else ():
            if "weights" in part:
                raise ModelError(f"{path}: member {member!r} asks for weights from elsewhere; refused")
            _refuse_unknown_code(path, member, kind, str(part.get("name")))


def _parts(named: Any) -> Iterator[dict[str, Any]]:
    """A part by name and options, and the parts that it is made of."""
    part = named if isinstance(named, dict) else {"name": named}
    yield part
    of = part.get("of")
    for each in of if isinstance(of, list) else ():
        yield from _parts(each)


def _refuse_unknown_code(path: Path, member: str, part: str, name: str) -> None:
    """Nothing, unless a part is a class of somebody's module that this program hasn't imported by itself."""
    module, colon, _ = name.partition(":")
    library = part in ("backbone", "depth") and module.lower() in LIBRARIES
    if colon and not library and module not in sys.modules:
        raise ModelError(
            f"{path}: member {member!r} has the {part} {name!r}, code that is not part of the model; if you trust "
            f"it, 'import {module}' before loading (on the command line: segkit --import {module} …)"
        )
