"""Figures as files."""

import warnings
from pathlib import Path

from matplotlib.figure import Figure

from segkit.files import atomic_path


def save_figure(figure: Figure, path: Path, *, dpi: int = 110) -> None:
    """Write a PNG, whole or not at all. A letter that the font lacks, as of 犬, is an empty box, without a warning."""
    with warnings.catch_warnings(), atomic_path(path) as temporary:
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, dpi=dpi, format="png")
