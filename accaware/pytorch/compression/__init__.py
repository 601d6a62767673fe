"""Algorithms that bring a model to a compression rate, and the controller over them."""
