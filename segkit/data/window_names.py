"""Windows of CT by the names that radiologists know them by."""

from typing import Literal

NamedWindow = Literal["brain", "subdural", "stroke", "lung", "mediastinum", "abdomen", "liver", "bone"]
"""A window of CT."""

NAMED: dict[NamedWindow, tuple[float, float]] = {
    "brain": (0, 80),
    "subdural": (-30, 170),
    "stroke": (20, 60),
    "lung": (-1350, 150),
    "mediastinum": (-125, 225),
    "abdomen": (-150, 250),
    "liver": (-45, 105),
    "bone": (-500, 1300),
}
"""Hounsfield units that become 0 and 1."""
