"""What ``accaware init`` does: asks for what it wasn't told, and writes two files."""

SOURCES = ("torchvision", "timm", "plugin", "lightning", "nncf-config")
"""Where a model comes from."""

ALGORITHMS = ("filter_pruning", "magnitude_sparsity", "quantization")
"""What a first config may compress by; the first is recommended."""
