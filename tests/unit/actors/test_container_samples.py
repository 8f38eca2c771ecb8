"""The samples of containers as text: what parsers of both formats read is what was given."""

from __future__ import annotations

import gzip

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from actors.container_metrics import PREFIX, samples
from actors.exposition import Exposition
from tests.unit.actors.test_container_metrics import FIRST, SECOND

LABELS = {"container_id": "c" * 64, "namespace": "default", "runtime": 'a "runtime"\\of\nmine'}
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def exposition():
    containers = [
        (LABELS, FIRST),
        ({**LABELS, "container_id": "d"}, SECOND),
        ({**LABELS, "container_id": "e"}, FIRST),
    ]
    counts = GaugeMetricFamily("actord_containers", "Containers.", labels=())
    counts.add_metric((), 3)
    return Exposition(CollectorRegistry(), lambda: ([counts], containers))


def read(text, parse):
    families = list(parse(text))
    assert len({one.name for one in families}) == len(families), "a family stands in one place"
    return {
        (sample.name, *sorted(sample.labels.items())): (sample.value, one.type)
        for one in families
        for sample in one.samples
    }


@pytest.mark.parametrize(("accept", "parse"), [("", plain_families), (OPEN_METRICS, open_families)])
def test_every_sample_of_every_container_is_there(exposition, accept, parse):
    found = read(exposition.scraped(accept)[0].decode(), parse)
    expected = {("actord_containers",): 3}
    for name, figures in ((LABELS["container_id"], FIRST), ("d", SECOND), ("e", FIRST)):
        for sample in samples(figures):
            labels = {**LABELS, "container_id": name, **dict(sample.labels)}
            expected[f"{PREFIX}_{sample.name}", *sorted(labels.items())] = sample.value
    assert {key: value for key, (value, _) in found.items()} == expected
    kinds = {key[0]: kind for key, (_, kind) in found.items()}
    assert kinds["container_memory_usage_failcnt_total"] == "counter"
    assert kinds["container_memory_usage_usage_bytes"] == "gauge"


def test_some_only(exposition):
    names = ["container_pids_current", "actord_containers"]
    assert {key[0] for key in read(exposition.scraped("", names)[0].decode(), plain_families)} == set(names)


def test_it_is_compressed_for_who_takes_that(exposition):
    said = []
    asked = {"REQUEST_METHOD": "GET", "HTTP_ACCEPT_ENCODING": "deflate, gzip", "QUERY_STRING": ""}
    (body,) = exposition.application(asked, lambda *given: said.append(given))
    assert ("Content-Encoding", "gzip") in said[0][1]
    assert gzip.decompress(body) == exposition.scraped()[0]
    (plain,) = exposition.application({"REQUEST_METHOD": "GET"}, lambda *given: said.append(given))
    assert plain == exposition.scraped()[0]
    assert exposition.application({"REQUEST_METHOD": "PUT"}, lambda *given: said.append(given)) == [b""]
    assert said[-1][0].startswith("405")
