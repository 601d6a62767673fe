"""Filter pruning: whole filters are ranked, chosen and removed."""
