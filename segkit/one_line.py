"""What a library's error says, in one line of a message of ours. Imports nothing of the toolkit."""

LONGEST = 200


def one_line(error: object) -> str:
    """The beginning of what it says, without line breaks; the error's kind where it says nothing."""
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__
