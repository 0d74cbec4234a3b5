"""The command `gsi`: its table of commands, their command lines, and the page that a run of the solver shows."""
