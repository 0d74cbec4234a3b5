"""Mechanics of transformer models shared by language and reward models: forwards, prefix cache, text and ids."""
