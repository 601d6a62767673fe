"""A model's weights: which parameters they are, what reads them, and those that are left out."""
