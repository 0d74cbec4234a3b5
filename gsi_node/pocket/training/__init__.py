"""How the shipped models were made and measured."""
