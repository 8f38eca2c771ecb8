"""Metrics of several nodes in one text, each sample with its node's name. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

MOST: Final = 15 << 20  # characters of one node: what a message holds, which is those of 1,500 containers
_SCRAPED: Final = "Whether the metrics of the node are among these."


class _Merged(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def merged(texts: Mapping[str, str | None]) -> bytes:
    """Of the metrics of nodes, by name, those of all; None stands for a node that was not reached.

    What a node sends that is no metrics, or too much, or of another kind than a metric of that name before,
    is left out. A label `node` that a sample has already is called `exported_node`, as Prometheus does.
    """
    families: dict[str, Metric] = {}
    scraped = GaugeMetricFamily("actord_node_scraped", _SCRAPED, labels=("node",))
    for node, text in texts.items():
        found = _parsed(text)
        scraped.add_metric((node,), float(bool(found)))
        for family in found:
            _add(families, family, node)
    registry = CollectorRegistry()
    registry.register(_Merged([*families.values(), scraped]))
    return generate_latest(registry)


def _parsed(text: str | None) -> list[Metric]:
    if not text or len(text) > MOST:
        return []
    try:
        return list(text_string_to_metric_families(text))
    except Exception:  # noqa: BLE001  # a peer's text may be anything
        return []


def _add(families: dict[str, Metric], family: Metric, node: str) -> None:
    known = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
    if known.type != family.type:
        return
    for sample in family.samples:
        labels = {("exported_node" if key == "node" else key): value for key, value in sample.labels.items()}
        known.samples.append(sample._replace(labels={"node": node, **labels}, exemplar=None, timestamp=None))
