"""Runs of a model that tell whether removing channels is zeroing them."""
