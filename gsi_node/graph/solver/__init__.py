"""A larger graph around the GSI node: prepare → k solves in parallel → a vote weighted by reward → the answer."""
