"""A search whose answers are recorded, so that it can be led to where it was."""
