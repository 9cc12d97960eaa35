"""What can go wrong, in four kinds; each knows the exit code of the command line."""


class SegkitError(ValueError):
    """A mistake that one line can explain: what was found, what was expected, what to do."""

    exit_code = 1


class UsageError(SegkitError):
    """A wrong argument, option or call."""

    exit_code = 2


class RecipeError(SegkitError):
    """A recipe that can't be read: a wrong key, value or combination."""

    exit_code = 2


class DataError(SegkitError):
    """A dataset, image or mask that can't be used."""

    exit_code = 3


class ModelError(SegkitError):
    """A saved model that can't be loaded or doesn't fit what is asked of it."""

    exit_code = 3


class NotFiniteError(ModelError):
    """A model that gives what is no number, or infinite."""
