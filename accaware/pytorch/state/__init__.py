"""What outlives a process: checkpoints, and the files of a run's state."""
