"""From a recipe and images to a backbone's first weights."""
