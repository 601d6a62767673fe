"""One Ray for all tests: two nodes of a CPU each, on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest


# No longer than for these tests: its processes are busy even where nobody asks them for anything.
@pytest.fixture(scope="package")
def two_nodes() -> Iterator[Any]:
    """The cluster, which this process is connected to."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # addresses of this machine alone
    # A node that is gone is to be noticed within a second.
    os.environ["RAY_health_check_period_ms"] = "300"  # noqa: SIM112 - Ray's own name
    os.environ["RAY_health_check_failure_threshold"] = "3"  # noqa: SIM112
    import ray
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 * 1024 * 1024, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **small})
    cluster.add_node(num_cpus=1, object_store_memory=80 * 1024 * 1024)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()
