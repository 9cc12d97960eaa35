"""Keys and values from YAML, and in one line what is wrong with it."""

import re
from collections.abc import Container
from pathlib import Path
from typing import Any

import yaml

from segkit.errors import SegkitError
from segkit.one_line import one_line

NOT_TEXT = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "timestamp"))
TEXT = "tag:yaml.org,2002:str"


def parse_keys(
    text: str, where: str | Path, like: str, error: type[SegkitError], *, names: Container[str] = ()
) -> dict[Any, Any]:
    """Return the keys and values of a YAML file's text.

    Args:
        text: of the file.
        where: the file, as it is called in messages.
        like: keys that are expected there, as examples.
        error: raised where it isn't YAML, has no keys, or has one twice, of which all but the last would be lost.
        names: keys whose values are names of something, which stay as they are written: 0010 is no 8.
    """
    try:
        values = read_yaml(text, names=names)
    except (yaml.YAMLError, ValueError, RecursionError) as wrong:  # ValueError: a date that there isn't
        mark = getattr(wrong, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        what = one_line(getattr(wrong, "problem", None) or wrong)
        raise error(f"{where}:{line} not valid YAML: {what}") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else "a list" if isinstance(values, list) else "no keys"
        raise error(f"{where}: expected keys like {like}, found {found}")
    return values


def read_yaml(text: str, *, names: Container[str] = ()) -> Any:
    """The value of a YAML text, of plain types alone; of the keys ``names`` what stands there is text.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: it is no YAML, or a key is there twice.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value in names:
                    _as_written(value, set())
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML takes the last of equal keys without a word, and 1e-5 for text, as YAML 1.1 has it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes the text that ``_Loader`` would take for a number."""


for each in (_Loader, _Dumper):
    each.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def yaml_of(value: Any, **layout: Any) -> str:
    """A value of plain types as YAML, keys in their order, which :func:`read_yaml` gives back.

    Args:
        value: to be written.
        layout: options of ``yaml.dump``, as ``width``.
    """
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, **layout))


def _as_written(node: yaml.Node, seen: set[int]) -> None:
    if id(node) in seen:  # a value that is used again by its name
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode) and node.tag in NOT_TEXT:
        node.tag = TEXT
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _as_written(each, seen)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _as_written(key, seen)
            _as_written(value, seen)
