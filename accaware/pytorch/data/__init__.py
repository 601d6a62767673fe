"""Batches of data, what is measured on them, and the generators that draw them."""
