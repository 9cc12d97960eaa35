"""Export: a model as one file that turns pixels into probabilities by itself."""
