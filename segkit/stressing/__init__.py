"""How a model's score falls as its pictures get worse, or are made to mislead it."""
