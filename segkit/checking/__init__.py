"""The dataset doctor: everything wrong with a dataset, found before the first epoch, and a mended copy of it."""
