"""Channel tracing: channels are followed from the layers that make them to their readers.

Every position along a layer's filters gets an id, and the ids travel with the tensors:
whatever moves elements about (a reshape, a concatenation, a window partition) is done to the
ids as well, by the very same function. What combines elements ties the ids that meet;
what mixes channels binds them to stay. So nothing has to be known of how a model is written, and
what is missing here costs channels, never rightness: all are tried by
accaware.pytorch.channels.verification.
"""

from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.forward import TracedChannels, trace_channels

__all__ = ["ChannelTable", "TracedChannels", "trace_channels"]
