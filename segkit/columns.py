"""Rows of cells as lines of text."""

from collections.abc import Sequence


def in_columns(rows: Sequence[Sequence[str]], *, right: bool = True) -> list[str]:
    """A line a row, columns two spaces apart and as wide as their widest cell.

    Args:
        rows: as many cells in each.
        right: figures stand to the right of their columns; what stands first, to the left. False: all to the left.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if right and i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
