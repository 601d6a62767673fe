"""From a trained model and a config to a controller: the door for training scripts."""

from accaware.pytorch.create.controller import create_compressed_model

__all__ = ["create_compressed_model"]
