"""Facts about any module, whatever is to be compressed of it."""
