"""Compression of PyTorch models. The only part of accaware that imports torch."""

from accaware.pytorch.compression.controller import PTCompressionController
from accaware.pytorch.compression.pruning.learned_ranking import RankingCallbacks
from accaware.pytorch.create import create_compressed_model
from accaware.pytorch.export import export_model
from accaware.pytorch.model.registered import register_layer
from accaware.pytorch.performance.compare import benchmark
from accaware.pytorch.state.checkpoint import load_compressed, save_compressed
from accaware.pytorch.weights.folding import fold_computed_weights

__all__ = [
    "PTCompressionController",
    "RankingCallbacks",
    "benchmark",
    "create_compressed_model",
    "export_model",
    "fold_computed_weights",
    "load_compressed",
    "register_layer",
    "save_compressed",
]
