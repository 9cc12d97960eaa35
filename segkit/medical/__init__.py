"""Volumes and slides: read with their place in space, and masks written back to the same place."""
