"""What is counted of a node among others. No label holds a user or a guild."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from voicestatus.cluster.service import OneOfSeveral


class NodeMetrics(Collector):
    """Reads a node as it is when it is asked."""

    def __init__(self, node: OneOfSeveral) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        leases = self._node.terms
        yield GaugeMetricFamily(
            "voicestatus_nodes",
            "Nodes that live, as far as this one knows.",
            self._node.living,
        )
        yield GaugeMetricFamily(
            "voicestatus_node_shards",
            "Shards that this node holds.",
            leases.held,
        )
        yield GaugeMetricFamily(
            "voicestatus_node_shards_in_step",
            "Shards of which this node knows what their holder knows.",
            self._node.presences.shards_in_step,
        )
        ends = CounterMetricFamily(
            "voicestatus_node_leases",
            "Leases of shards, by what became of them.",
            labels=["outcome"],
        )
        ends.add_metric(["renewed"], leases.renewed)
        ends.add_metric(["lost"], leases.lost)
        yield ends
