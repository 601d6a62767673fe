"""What the JSON Schema files say of a config, in sentences."""
