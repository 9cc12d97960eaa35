"""What a library's error says, in one line of a message of ours. Imports nothing of the toolkit."""

LONGEST = 200


def one_line(error: object) -> str:
    """The beginning of what it says, without line breaks; the error's kind where it says nothing."""
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__


def why_missing(error: ImportError, library: str) -> str:
    """Whether a library isn't there, or is and doesn't work: then no installing helps, and its own error says more."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in ("", library):
        return "is not installed"
    return f"can't be imported ({one_line(error)})"
