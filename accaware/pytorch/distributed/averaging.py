"""A metric of which each of several processes has measured a part."""

from __future__ import annotations

import math
from itertools import chain

from accaware.pytorch.distributed.agreement import gathered
from accaware.search.metric import Metric


def averaged(metric: float, samples: int | None) -> float:
    """The mean over all processes; over their samples, each of which counts once, if they tell.

    Every process has to ask.

    Args:
        metric: of this process, on the samples that torch's DistributedSampler gives it, in their
            order; a :class:`~accaware.search.metric.Metric` tells of each.
        samples: of all processes, without those that are there twice to make shards equally long;
            None where samples aren't shared out.
    """
    parts = gathered(metric)
    told = [part for part in parts if isinstance(part, Metric) and part.per_sample is not None]
    shards = [part.per_sample for part in told if part.per_sample is not None]
    if samples is None or len(shards) < len(parts) or len(set(map(len, shards))) > 1:
        return math.fsum(parts) / len(parts)
    # Shards take turns; where they aren't equally long by themselves, the first samples come again.
    merged = list(chain.from_iterable(zip(*shards, strict=True)))[:samples]
    # Of zeros alone a scale isn't known.
    scale = max(part.scale for part in told)
    return Metric(scale * math.fsum(merged) / len(merged), merged)
