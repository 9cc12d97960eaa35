"""The nearest right word, for messages about a wrong one."""

import difflib
from collections.abc import Mapping, Sequence


def nearest(word: str, choices: Sequence[str] | Mapping[str, object]) -> str:
    """A hint like ``; did you mean 'epochs'?`` or, where nothing is near, the list of choices."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(choices)}"
