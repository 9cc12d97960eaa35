"""A page of docs/ as somebody follows it: its files written, its commands and code run, in order."""

import re
import shlex
from pathlib import Path

from segkit.cli.main import main

DOCS = Path(__file__).parent.parent / "docs"
TITLE = re.compile(r"# (\S+\.(?:py|yaml))\n")


def same(text):
    return text


class Page:
    """The blocks of a page: what begins with a comment that names a file is that file."""

    def __init__(self, name):
        self.name = name
        self.text = (DOCS / name).read_text(encoding="utf-8")
        self.blocks = re.findall(r"^```(\w+)\n(.*?)^```", self.text, re.MULTILINE | re.DOTALL)

    def follow(self, capsys, *, files=lambda _, text: text, code=same, words=list):
        """Do what the page says in the folder where we are; what its code leaves comes back.

        ``files`` of a title and its text, ``code`` of a block and ``words`` of a command are what is taken in their
        place, so that all of it takes seconds.
        """
        session = {}
        for kind, text in self.blocks:
            if title := TITLE.match(text):
                Path(title[1]).write_text(files(title[1], text))
            elif kind == "python":
                exec(compile(code(text), self.name, "exec"), session)
            elif kind == "bash":
                for line in text.splitlines():
                    self._run(list(words(words_of(line))), capsys)
        return session

    def _run(self, words, capsys):
        if words[0] == "python":
            exec(compile(Path(words[1]).read_text(), words[1], "exec"), {})
        else:
            assert words[0] == "segkit"
            assert main(words[1:]) == 0, capsys.readouterr().err


def words_of(line):
    """The words of a command line, patterns replaced by the files that match, as a shell does."""
    for word in shlex.split(line):
        yield from sorted(map(str, Path().glob(word))) if "*" in word else [word]
