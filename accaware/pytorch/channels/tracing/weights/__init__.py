"""Which tensors are layers' weights, whole or in parts, and the channels along them."""
