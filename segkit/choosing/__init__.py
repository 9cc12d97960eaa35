"""Steps after prediction, chosen on held-out pictures."""
