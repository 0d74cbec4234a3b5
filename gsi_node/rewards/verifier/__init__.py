"""Arithmetic checked by rule."""
