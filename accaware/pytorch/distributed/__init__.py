"""One run in several processes, which have to agree."""
