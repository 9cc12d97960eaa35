"""What a run says, on the console and in its ``log.txt``."""

from contextlib import suppress
from pathlib import Path

from rich.console import Console


class Log:
    """Lines for the console and for a file.

    Args:
        path: the file; lines are added to it.
        console: where they are printed too.
    """

    def __init__(self, path: Path, console: Console) -> None:
        self.path, self.console = path, console

    def say(self, line: str) -> None:
        """Add a line to both."""
        with suppress(OSError), self.path.open("a", encoding="utf-8") as file:  # a full disk must not cost the model
            file.write(line + "\n")
        self.console.print(line, markup=False, highlight=False)
