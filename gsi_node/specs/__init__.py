"""Models and rewards from text."""
