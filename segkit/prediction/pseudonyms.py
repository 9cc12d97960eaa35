"""Names for outputs that say nothing of the inputs' names: made of what the inputs hold."""

from dataclasses import replace
from pathlib import Path

from segkit.prediction.manifest import files_hash
from segkit.prediction.sources import Source

DIGITS = 12


def pseudonymised(sources: list[Source], out: Path) -> list[Source]:
    """The sources with names for their outputs that follow from the content of their files, all in one folder.

    The same image always has the same name, so that who has it can find what was made of it.
    """
    return [_renamed(source, number, out) for number, source in enumerate(sources)]


def without_names(error: str, source: Source) -> str:
    """An error's text with the source's alias in the place of its paths and file names."""
    names = {str(file) for file in (source.path, *source.files)} | {file.name for file in source.files}
    for name in sorted(names, key=len, reverse=True):
        error = error.replace(name, source.alias or "")
    return error


def _renamed(source: Source, number: int, out: Path) -> Source:
    digest = files_hash(source.files)
    alias = f"case_{digest[:DIGITS]}" if digest is not None else f"unreadable_{number}"
    renamed = replace(source, folder=out, place=alias, alias=alias)
    return renamed if source.error is None else replace(renamed, error=without_names(source.error, renamed))
