"""What a machine can count of the house: `python -m tests.house` (or `make house`) prints it for any checkout."""
