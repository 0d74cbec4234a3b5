"""A process reward model made of a language model, and of problems whose answers can be checked."""
