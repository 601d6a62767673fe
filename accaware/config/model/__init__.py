"""A checked config as frozen dataclasses, and what their values mean."""
