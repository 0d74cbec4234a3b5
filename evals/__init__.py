"""Comparisons of methods on data sets, run from the repository root: `python -m evals run`, then `report`."""
