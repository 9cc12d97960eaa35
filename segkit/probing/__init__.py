"""Cheap measures of what a backbone's features are worth."""
