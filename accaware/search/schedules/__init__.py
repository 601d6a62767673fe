"""The level of compression at each moment of training."""
