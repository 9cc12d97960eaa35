"""How work over many pictures says how far it is."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called after each picture, or case, with the number done, the number of all, and its name."""
