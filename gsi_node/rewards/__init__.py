"""Reward models: the protocol, finite tables, arithmetic checked by rule, and process reward models."""
