"""What ``accaware init`` does: asks for what it wasn't told, and writes two files."""
