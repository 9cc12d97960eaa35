"""Models that see brightness, and discs for them."""

from bright_discs import discs, model

__all__ = ["discs", "model"]
