"""Rules across keys, each of which is right in itself."""
