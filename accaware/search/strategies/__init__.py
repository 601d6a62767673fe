"""Who proposes the next rate: pure functions from a search's history to a decision."""
