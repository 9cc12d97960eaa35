"""How far a single prediction is to be trusted: its expected score, a verdict, and whether its input is familiar."""
