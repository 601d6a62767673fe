"""A run while it works: rows of trials, a bar, lines for logs, a live table."""
