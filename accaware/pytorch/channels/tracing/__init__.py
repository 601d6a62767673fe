"""Channels followed through a forward pass, from the layers that make them to their readers.

Every position along a layer's filters gets a number, and the numbers travel with the tensors:
whatever moves elements about (a reshape, a concatenation, a window partition) is done to the
numbers as well, by the very same function. What combines elements ties the numbers that meet;
what mixes channels binds them to stay. So nothing has to be known of how a model is written, and
what is missing here costs channels, never rightness: all are tried by
accaware.pytorch.channels.verification.
"""

from accaware.pytorch.channels.tracing.forward import Followed, follow
from accaware.pytorch.channels.tracing.numbering import Numbering

__all__ = ["Followed", "Numbering", "follow"]
