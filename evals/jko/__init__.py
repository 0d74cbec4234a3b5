"""Neural JKO sampling against ground truth."""
