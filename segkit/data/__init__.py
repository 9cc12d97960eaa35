"""Pictures and masks: datasets opened from folders, read, augmented and cut into training crops."""
