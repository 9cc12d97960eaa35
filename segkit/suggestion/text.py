"""A recipe as YAML, each choice with its reason in a comment."""

from collections.abc import Iterator, Sequence
from typing import Any

from segkit.suggestion.choice import Choice, Section
from segkit.suggestion.choices import Choices
from segkit.yaml_text import yaml_of

COLUMN = 46  # where comments begin, if the value is shorter


def to_yaml(name: str, path: str, choices: Choices, heading: Sequence[str]) -> str:
    """The text of a recipe file that ``load_recipe`` reads.

    Args:
        name: the recipe's.
        path: the dataset's folder, as the user gave it.
        choices: what it holds.
        heading: lines for the comment at its top.
    """
    lines = [f"# {' '.join(line.split())}".rstrip() for line in heading]  # names may have line breaks
    lines += [f"name: {_flow(name)}", "", "data:", *_entry("path", Choice(path), 2), *_section(choices.data, 2), ""]
    if len(choices.members) == 1:
        [member] = choices.members.values()
        lines += [f"model:  # {choices.members_reason}", *_section(member, 2)]
    else:
        lines += [f"ensemble:  # {choices.members_reason}", "  members:"]
        for member_name, member in choices.members.items():
            lines += [f"    - name: {member_name}", *_section(member, 6)]
    lines += ["", *_section(choices.loss, 0)]
    lines += ["", "train:", *_section(choices.train, 2), "", "predict:", *_section(choices.predict, 2)]
    return "\n".join(lines) + "\n"


def _section(section: Section, indent: int) -> Iterator[str]:
    for key, choice in section.items():
        yield from _entry(key, choice, indent)


def _entry(key: str, choice: Choice, indent: int) -> Iterator[str]:
    margin, comment = " " * indent, f"# {choice.reason}" if choice.reason else ""
    if isinstance(choice.value, list) and choice.value and isinstance(choice.value[0], dict):
        yield f"{margin}{key}:  {comment}".rstrip()
        for item in choice.value:
            [(name, parameters)] = item.items()
            yield f"{margin}  - {name}: {_flow(parameters)}"
    else:
        line = f"{margin}{key}: {_flow(choice.value)}"
        yield f"{line:<{COLUMN}}{'' if len(line) < COLUMN else '  '}{comment}".rstrip()


def _flow(value: Any) -> str:
    """A value on one line of YAML."""
    text = yaml_of(value, default_flow_style=True, width=1000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
