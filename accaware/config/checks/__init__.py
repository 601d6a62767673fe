"""A config's data, section by section, to sections that are checked."""
