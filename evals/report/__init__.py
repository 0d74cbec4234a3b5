"""What rows add up to: tables, plots, the page."""
