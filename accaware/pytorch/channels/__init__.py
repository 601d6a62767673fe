"""Which channels of a model belong together, and the model without some of them."""
