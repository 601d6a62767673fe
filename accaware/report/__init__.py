"""Tables and lines for people: a run while it works, and what it found."""
