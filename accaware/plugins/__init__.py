"""The user's code: what it must offer, how it is loaded, and where it comes from."""
