"""What a command owes the machine it runs on: files that are whole, strict JSON, the shell, the screen."""
