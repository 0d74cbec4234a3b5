"""Rows of a run: their type, their checksum, their file."""
