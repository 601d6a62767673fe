"""What ``accaware validate-config`` does: what a config says, and what its plugin offers."""
