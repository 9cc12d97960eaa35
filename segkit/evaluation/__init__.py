"""Scores: counted, tabulated and reported."""
