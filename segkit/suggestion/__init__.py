"""A recipe fitted to a dataset and a machine: facts about the pictures, choices that follow, their reasons."""
