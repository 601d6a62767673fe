"""How a trial is trained, and how several of them are run at a time."""
