"""A config's text to data whose places are known."""
