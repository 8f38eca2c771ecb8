"""The metrics of the daemon itself, each declared once; docs/reference/metrics.md is written from it. Pure.

Those of containers have containerd's names: actors/container_metrics.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from transport.durations import BOUNDS

Kind = Literal["counter", "gauge", "histogram", "info"]
_EDGES: Final = (*(str(bound) for bound in BOUNDS), "+Inf")
_SUFFIXES: Final = {"counter": "_total", "info": "_info"}


@dataclass(frozen=True, slots=True)
class Named:
    """One metric; the names of counters and infos get the suffix that Prometheus wants of them."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()

    @property
    def full(self) -> str:
        """As it is scraped."""
        return self.name + _SUFFIXES.get(self.kind, "")


METRICS: Final = (
    Named("actord_build", "info", "Versions of the daemon, its protocol and Python.",
          ("version", "protocol", "python")),
    Named("actord_actor_up", "gauge", "Whether the actor runs.", ("actor", "kind")),
    Named("actord_actor_restarts", "counter", "Restarts of the actor.", ("actor",)),
    Named("actord_actor_exits", "counter", "Ends of actors, by what ended them.", ("kind", "reason")),
    Named("actord_actor_resident_bytes", "gauge", "Memory of its process, shared pages in full.", ("actor",)),
    Named("actord_actor_cpu_seconds", "counter", "Processor time of its process.", ("actor",)),
    Named("actord_actor_open_fds", "gauge", "Open descriptors of its process.", ("actor",)),
    Named("actord_supervision_reports", "counter", "What the supervision tree has reported.", ("kind",)),
    Named("actord_mailbox_messages", "gauge", "Messages that wait in the mailbox.", ("actor",)),
    Named("actord_mailbox_refused", "counter", "Requests for which the mailbox had no room.", ("actor",)),
    Named("actord_mailbox_wait_seconds", "histogram", "Time that a request waits in it.", ("actor",)),
    Named("actord_message_seconds", "histogram", "Time that the actor is busy with a message.", ("actor",)),
    Named("actord_requests", "counter", "Requests that the router has passed on, by how they ended.",
          ("operation", "outcome")),
    Named("actord_request_seconds", "histogram",
          "Time from a request to its answer; of what waits for something, the wait too.", ("operation",)),
    Named("actord_requests_waiting", "gauge", "Requests under way, by whom they are for.", ("kind",)),
    Named("actord_router_messages", "counter", "Messages that came to the router, by what they are or were.",
          ("kind",)),
    Named("actord_node_up", "gauge", "Whether the other node is heard.", ("peer", "link")),
    Named("actord_node_phi", "gauge", "How unlikely its silence is, as -log10.", ("peer", "link")),
    Named("actord_node_round_trip_seconds", "gauge", "Time of the last heartbeat there and back.",
          ("peer", "link")),
    Named("actord_containers", "gauge", "Containers by state of their task.", ("namespace", "status")),
    Named("actord_images", "gauge", "Names of images.", ("namespace",)),
    Named("actord_transfer_bytes", "counter", "Bytes from and to registries.", ("task",)),
    Named("actord_transfers", "counter", "Transfers that have ended.", ("task", "outcome")),
    Named("actord_events", "counter", "Events that were journalled."),
    Named("actord_event_delay_seconds", "histogram", "Time from what happened until it was journalled."),
    Named("actord_event_followers", "gauge", "Who follows the journal."),
    Named("actord_event_lag", "gauge", "Events that the slowest follower has not been served yet."),
    Named("actord_collection_seconds", "histogram", "Time that a garbage collection took."),
    Named("actord_collection_failures", "counter", "Garbage collections that failed; each is tried again."),
    Named("actord_collected", "counter", "Things collected.", ("kind",)),
    Named("actord_collected_bytes", "counter", "Bytes of the blobs that were collected."),
    Named("actord_store_items", "gauge", "Things in a store, looked at once a minute.", ("store",)),
    Named("actord_store_bytes", "gauge", "Bytes in a store, looked at once a minute.", ("store",)),
    Named("actord_filesystem_bytes", "gauge", "Size of the file system of the root directory."),
    Named("actord_filesystem_free_bytes", "gauge", "What is free of it."),
)  # fmt: skip
_BY_NAME: Final = {one.name: one for one in METRICS}
_TYPES: Final[Mapping[Kind, Any]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
    "info": InfoMetricFamily,
}


class Family:
    """Samples of one metric under way to a scrape."""

    def __init__(self, name: str) -> None:
        """Raises KeyError for one that is not declared."""
        self.named = _BY_NAME[name]
        self.metric: Metric = _TYPES[self.named.kind](name, self.named.text, labels=self.named.labels)

    def add(self, value: float, *labels: str) -> None:
        """One sample of a counter or gauge."""
        self.metric.add_metric(labels, value)  # type: ignore[attr-defined]  # all but the base have it

    def add_durations(self, found: Mapping[str, Any], *labels: str) -> None:
        """One histogram, from `Durations.to_dict`."""
        buckets = list(zip(_EDGES, accumulate(found["counts"]), strict=True))
        self.metric.add_metric(labels, buckets, found["seconds"])  # type: ignore[attr-defined]


def families(*names: str) -> Sequence[Family]:
    """Some of them, empty, in that order."""
    return [Family(name) for name in names]
