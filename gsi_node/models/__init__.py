"""Language models: the protocol, finite tables, in-process transformers, and the models that ship inside."""
