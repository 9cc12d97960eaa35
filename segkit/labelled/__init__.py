"""Images with one label each: where they are, read, augmented in batches."""
