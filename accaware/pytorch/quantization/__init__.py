"""Quantization-aware training: weights and activations held to a few bits.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (2018), section 3, on torch's own fake-quantize operators.
"""
