"""Two encoders with one feature space: colour and depth, images and captions."""
