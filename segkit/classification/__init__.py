"""One label for a whole image: classifiers, their scores and predictions, and several of them together."""
