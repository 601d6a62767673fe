"""The network that goes into a file: batch norms folded, weights computed, outputs named."""
