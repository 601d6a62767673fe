"""The run directory: config, manifest, journal, lock and result."""
