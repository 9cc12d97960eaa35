"""Names for outputs that say nothing of the inputs' names: made of what the inputs hold."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePath

from segkit.data.suffixes import stem_of
from segkit.prediction.manifest import files_hash
from segkit.prediction.sources import Source

DIGITS = 12
COPY = "holds the same as another one of the images"
WORD = r"(?<![\w-])(?<!\d\.)(?:{})(?![\w-])(?!\.\d)"
STEM = r"(?<![\w-])(?:{})(?=\.[a-zA-Z]|:)"  # not where the same letters are a word
FOLDER = r"(?<![\w-])(?:{})(?=[/\\:]| \()"
NUMBER = re.compile(r"\d{1,4}")  # what such a name says of anyone a count or a length says too


def pseudonymised(sources: list[Source], out: Path) -> list[Source]:
    """The sources with names for their outputs that follow from the content of their files, all in one folder.

    The same image always has the same name, so that who has it can find what was made of it. Of several images that
    hold the same only the first is one to predict.
    """
    named: dict[str, Source] = {}
    for number, source in enumerate(sources):
        digest = files_hash(source.files)
        alias = f"case_{digest[:DIGITS]}" if digest is not None else f"unreadable_{number}"
        again = alias in named
        alias = f"{alias}_{number}" if again else alias
        named[alias] = replace(source, folder=out, place=alias, alias=alias)
        if again and source.found:
            named[alias] = replace(named[alias], skipped=COPY)
    renamed = list(named.values())
    hiding = NameHiding(renamed)
    return [
        replace(
            source,
            error=None if source.error is None else hiding.of(source.error),
            skipped=None if source.skipped is None else hiding.of(source.skipped),
        )
        for source in renamed
    ]


class NameHiding:
    """Takes the names of sources out of texts."""

    def __init__(self, sources: Iterable[Source]) -> None:
        words: dict[str, str] = {}
        stems: dict[str, str] = {}
        folders: dict[str, str] = {}
        for source in sources:
            alias = source.alias or ""
            for file in source.files:
                words |= dict.fromkeys((str(file), file.name), alias)
                folders |= dict.fromkeys(map(str, file.parents), "…")
            if source.series is None:
                stems[stem_of(source.path)] = alias
            else:
                words[source.series.name] = alias
                if source.path not in source.files:
                    folders[str(source.path)] = alias
        words = {name: alias for name, alias in words.items() if not NUMBER.fullmatch(name)}
        folders = {name: alias for name, alias in folders.items() if name not in (".", "..", PurePath(name).anchor)}
        self._names = [
            (_compiled(pattern, names), names) for pattern, names in ((WORD, words), (STEM, stems), (FOLDER, folders))
        ]

    def of(self, text: str) -> str:
        """The text with aliases in the place of the sources' paths and of the names of their files and folders."""
        for pattern, names in self._names:
            if pattern is not None:
                text = pattern.sub(lambda found, names=names: names[found[0]], text)  # type: ignore[misc]  # bound now
        return text


def _compiled(pattern: str, names: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(filter(None, names), key=len, reverse=True)
    return re.compile(pattern.format("|".join(map(re.escape, longest_first)))) if longest_first else None
