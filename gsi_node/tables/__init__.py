"""Finite models and rewards, exact and enumerable: numpy only."""
