"""A config's text to an AccAwareConfig, or to every fault of it at once."""
