"""Metrics of several nodes in one text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from actors.nodes.merging import merged

TEXT = """# HELP a_total How often.
# TYPE a_total counter
a_total{kind="x"} 3.0
# HELP b_seconds How long.
# TYPE b_seconds histogram
b_seconds_bucket{le="1.0"} 1.0
b_seconds_bucket{le="+Inf"} 2.0
b_seconds_count 2.0
b_seconds_sum 4.5
# HELP c Whose.
# TYPE c gauge
c{node="inner"} 1.0
"""


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_each_sample_is_there_once_for_each_node_under_its_own_name():
    found = samples(merged({"h1": TEXT, "h2": TEXT}).decode())
    for node in ("h1", "h2"):
        assert found["a_total", (("kind", "x"), ("node", node))] == 3
        assert found["b_seconds_bucket", (("le", "+Inf"), ("node", node))] == 2
        assert found["c", (("exported_node", "inner"), ("node", node))] == 1
        assert found["actord_node_scraped", (("node", node),)] == 1
    assert len(found) == 2 * 7


@pytest.mark.parametrize("text", [None, "", "a{", "{{{{", "a 1\na{b=} x"])
def test_a_node_that_is_not_reached_or_talks_nonsense_is_left_out(text):
    found = samples(merged({"h1": TEXT, "h2": text}).decode())
    assert found["actord_node_scraped", (("node", "h2"),)] == 0
    assert len(found) == 7 + 1


def test_a_metric_of_another_kind_under_a_known_name_does_not_pass():
    found = samples(merged({"h1": TEXT, "h2": "# TYPE c counter\nc_total 5\n"}).decode())
    assert ("c", (("exported_node", "inner"), ("node", "h1"))) in found


@given(st.text())
def test_no_text_of_a_peer_ends_it(text):
    assert b"actord_node_scraped" in merged({"h1": TEXT, "h2": text})
