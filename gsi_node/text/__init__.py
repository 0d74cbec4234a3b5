"""Tokens and words: codec, prompts, tokenizer files."""
