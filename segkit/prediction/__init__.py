"""From a trained model and pictures to masks, maps and overlays."""
