"""Whether an exported file computes what the model does."""
