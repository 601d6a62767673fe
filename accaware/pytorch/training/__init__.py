"""The user's training and validation, run for the search."""
