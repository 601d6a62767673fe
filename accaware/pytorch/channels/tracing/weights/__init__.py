"""Which tensors are layers' weights, and what becomes of those that are computed or taken apart."""
