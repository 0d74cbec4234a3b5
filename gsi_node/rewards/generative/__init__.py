"""Verifiers that write before they judge: a language model, asked in the format that it was trained on."""
