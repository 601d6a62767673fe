"""Trials on the workers of a Ray cluster. Only this room imports ray."""
