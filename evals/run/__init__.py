"""A run: plan, workers, rows."""
