"""What a library's error says, in one line of a message of ours. Imports nothing of the toolkit."""

import reprlib

LONGEST = 200
SHOWN = 60  # characters of a value, or items of it that are looked at: YAML and JSON hold some of any length
_REPR = reprlib.Repr()
_REPR.maxlevel = 4
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = SHOWN + 1
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = _REPR.maxset = _REPR.maxfrozenset = SHOWN


def one_line(error: object) -> str:
    """The beginning of what it says, without line breaks; the error's kind where it says nothing."""
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__


def found_there(value: object) -> str:
    """`` (found 3)``, to stand behind what was expected; nothing where the value is too long to be shown."""
    shown = _REPR.repr(value)
    return f" (found {shown})" if len(shown) <= SHOWN else ""


def why_missing(error: ImportError, library: str) -> str:
    """Whether a library isn't there, or is and doesn't work: then no installing helps, and its own error says more."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in ("", library):
        return "is not installed"
    return f"can't be imported ({one_line(error)})"
