"""Values as JSON that any program reads."""

import json


def json_text(value: object) -> str:
    """Indented JSON of figures; numbers of numpy or torch as plain ones, and null for what isn't finite."""
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: object) -> object:
    """The same value in types that JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if value is None or isinstance(value, str | int):
        return value
    item = getattr(value, "item", None)  # a number from numpy or torch
    return _plain(item()) if item is not None else str(value)
