"""A run from its first event to its files, a new one or one to go on with."""
