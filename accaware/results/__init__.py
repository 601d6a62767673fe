"""What a run or a command found out, as data."""
