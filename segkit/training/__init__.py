"""From a recipe and a dataset to a trained model."""
