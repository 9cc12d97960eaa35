"""Recipes shipped with the toolkit; read them with ``segkit config show NAME``."""
