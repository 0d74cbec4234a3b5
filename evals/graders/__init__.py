"""The rules by which answers are compared, and the processes in which the dangerous part of it runs."""
