"""Data sets by name, and what a problem is."""
