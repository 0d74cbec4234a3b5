"""Rewards around other rewards."""
