"""What is done to predicted masks before they are handed on: smoothed, cleared of small parts, and filled."""
