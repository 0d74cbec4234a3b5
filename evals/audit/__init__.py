"""Gold answers rewritten with known truth, to hold the grader against: python -m evals.audit."""
