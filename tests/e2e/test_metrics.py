"""Metrics as others see them: promtool, a real Prometheus, our rules and dashboard, the kernel's files."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon import CHECKOUT, Daemon, running, wait_until
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from actors.linux import cgroups
from actors.metric_names import METRICS
from tests.ports import free_port
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
RULES, DASHBOARD = CHECKOUT / "etc/prometheus/actord.rules.yml", CHECKOUT / "etc/grafana/actord.json"
FORCED = 'use base unit "seconds"'  # what promtool says of containerd's names, which are not ours to choose


@pytest.fixture
def container(daemon: Daemon, busybox: str) -> Iterator[str]:
    """One that computes a little, within limits."""
    script = "i=0; while true; do i=$((i+1)); [ $((i % 20000)) -gt 0 ] || sleep 0.05; done"
    words = (
        "run",
        "-d",
        "--memory",
        "64m",
        "--pids-limit",
        "20",
        "--cpus",
        "0.5",
        busybox,
        "sh",
        "-c",
        script,
    )
    found = daemon.actr(*words).stdout.strip()
    yield found
    daemon.actr("rm", "-f", found)


def address(daemon: Daemon) -> str:
    return f"127.0.0.1:{(daemon.state / 'metrics.port').read_text()}"


def scrape(daemon: Daemon, path: str = "/metrics", accept: str = "text/plain") -> str:
    request = urllib.request.Request(f"http://{address(daemon)}{path}", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310  # http, as above
        found: str = answer.read().decode()
        return found


def own_work(daemon: Daemon) -> None:
    """Something of each kind that the daemon counts: a collection, an event, and a transfer that fails."""
    daemon.actr("system", "gc")
    daemon.actr("pull", "127.0.0.1:1/nobody:here", check=1)


def samples(daemon: Daemon) -> dict[tuple[str, str], float]:
    """By the name of the sample and its labels but for `le`, of which the last bucket is taken."""
    return {
        (
            sample.name,
            ",".join(value for key, value in sorted(sample.labels.items()) if key != "le"),
        ): sample.value
        for family in text_string_to_metric_families(scrape(daemon, accept=OPEN_METRICS))
        for sample in family.samples
    }


def test_each_metric_that_is_declared_is_there_once_there_was_work(daemon: Daemon, container: str):
    own_work(daemon)
    assert container
    families = {one.name for one in text_string_to_metric_families(scrape(daemon, accept=OPEN_METRICS))}
    assert {one.name for one in METRICS} - families <= {"actord_collection_failures"}


def test_counts_are_those_of_what_was_done(daemon: Daemon, busybox: str, container: str):
    daemon.actr("inspect", container)  # what has never been done is counted under no name of its own
    daemon.actr("rm", "-f", container)
    before = samples(daemon)
    daemon.actr("rmi", busybox)
    daemon.actr("system", "gc")
    daemon.actr("pull", busybox)
    for _ in range(3):
        daemon.actr("version")
    daemon.actr("inspect", "nobody", check=1)

    def grown(name: str, labels: str = "") -> float:
        return samples(daemon).get((name, labels), 0) - before.get((name, labels), 0)

    with daemon.client_in_use() as client:
        blobs = client.request("content.list", {"namespace": ""}, to="content")["blobs"]
    size = sum(one["size"] for one in blobs)
    wait_until("its layer was counted", lambda: grown("actord_transfer_bytes_total", "pull") >= size * 0.9)
    assert grown("actord_transfer_bytes_total", "pull") <= size
    assert grown("actord_transfers_total", "ok,pull") == 1
    assert grown("actord_requests_total", "introspection.version,ok") == 3
    assert grown("actord_request_seconds_bucket", "introspection.version") == 3
    assert grown("actord_requests_total", "containers.get,not_found") == 1
    assert grown("actord_collected_total", "blobs") >= 1


def test_an_end_of_an_actor_is_counted_by_its_reason(daemon: Daemon, busybox: str):
    assert busybox
    key = ("actord_actor_exits_total", "volumes,killed")
    before = samples(daemon).get(key, 0)
    daemon.kill_actor("volumes")
    wait_until("it is counted", lambda: samples(daemon).get(key, 0) == before + 1)


def test_a_scrape_wakes_no_actor_of_a_container(daemon: Daemon, container: str):
    pid = daemon.pid(f"container/default/{container}")
    rounds = 30

    def woken() -> int:
        """Its main thread, which turns the pump: a request that came would wake that at least."""
        status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
        return int(re.findall(r"\nvoluntary_ctxt_switches:\s+(\d+)", status)[0])

    before, began = woken(), time.monotonic()
    for _ in range(rounds):
        scrape(daemon)
    scraped, seconds = woken() - before, time.monotonic() - began
    before = woken()
    time.sleep(seconds)  # as long without a scrape: heartbeats wake it, and whatever else there is
    assert scraped - (woken() - before) < rounds, "scrapes do not wake it"


def test_a_port_that_somebody_else_has_costs_the_metrics_and_nothing_more(tmp: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with running(tmp, metrics=f"127.0.0.1:{port}") as daemon:
            assert "daemon" in daemon.actr("version").stdout
            wait_until(
                "it is in the log", lambda: f"no metrics at 127.0.0.1:{port}" in daemon.log.read_text()
            )
            with daemon.client_in_use() as client, pytest.raises(RemoteError, match="somebody else has"):
                client.request("metrics.address", {}, to="metrics", limit=1.0)
            assert daemon.actors()["metrics"]["restarts"] == 0
            other.close()
            wait_until("it is scraped", (daemon.state / "metrics.port").exists)
            assert "actord_build_info" in scrape(daemon)


def test_promtool_finds_nothing_but_the_units_of_containerds_names(daemon: Daemon, container: str):
    words = ["promtool", "check", "metrics"]
    done = subprocess.run(
        words, input=scrape(daemon, "/v1/metrics"), capture_output=True, text=True, timeout=60, check=False
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert [line for line in complaints if not (line.startswith("container_") and FORCED in line)] == []
    assert container in scrape(daemon)


def test_it_is_open_metrics_too(daemon: Daemon, container: str):
    families = {one.name: one for one in text_string_to_metric_families(scrape(daemon, accept=OPEN_METRICS))}
    assert {"actord_actor_up", "actord_actor_restarts", "container_pids_current"} <= families.keys()
    assert any(
        sample.labels["container_id"] == container for sample in families["container_pids_current"].samples
    )


def test_values_are_those_of_the_kernels_files(daemon: Daemon, container: str):
    layout = cgroups.detect()
    if layout.kind is cgroups.Kind.V2:
        names = {"container_pids_limit": "pids.max", "container_memory_usage_limit_bytes": "memory.max"}
        places = dict.fromkeys(names.values(), layout.root)
    else:
        names = {
            "container_pids_limit": "pids.max", "container_memory_usage_limit_bytes": "memory.limit_in_bytes",
        }  # fmt: skip
        places = {
            "pids.max": layout.controllers["pids"],
            "memory.limit_in_bytes": layout.controllers["memory"],
        }
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(scrape(daemon, accept=OPEN_METRICS))
        for sample in family.samples
        if sample.labels.get("container_id") == container
    }
    for metric, file in names.items():
        path = places[file] / f"actord/default/{container}" / file
        assert found[metric] == int(path.read_text())
    assert found["container_pids_limit"] == 20
    assert found["container_memory_usage_limit_bytes"] == 64 << 20


def test_rules_are_rules():
    done = subprocess.run(
        ["promtool", "check", "rules", RULES], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 rules found" in done.stdout


@pytest.fixture
def prometheus(daemon: Daemon, tmp: Path) -> Iterator[str]:
    """A Prometheus that scrapes the daemon every two seconds; its address."""
    listen = f"127.0.0.1:{free_port()}"
    config = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "actord", "static_configs": [{"targets": [address(daemon)]}]}],
    }
    (tmp / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    words = ["prometheus", f"--config.file={tmp}/prometheus.yml", f"--storage.tsdb.path={tmp}/data",
             f"--web.listen-address={listen}"]  # fmt: skip
    with (tmp / "log").open("wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield listen
    finally:
        process.terminate()
        process.wait(30)


def asked(listen: str, expression: str) -> list[dict[str, Any]]:
    """What Prometheus answers now; nothing while it is only coming up."""
    words = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"http://{listen}/api/v1/query?{words}", timeout=20) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found
    except OSError:
        return []


def test_a_real_prometheus_scrapes_it_and_the_dashboard_shows_something(
    daemon: Daemon, prometheus: str, container: str
):
    def is_up() -> bool:
        return [one["value"][1] for one in asked(prometheus, 'up{job="actord"}')] == ["1"]

    wait_until("it is scraped", is_up, 60)
    own_work(daemon)
    panels = json.loads(DASHBOARD.read_text())["panels"]
    for expression in [target["expr"] for panel in panels for target in panel["targets"]]:
        query = expression.replace("$__rate_interval", "30s")
        wait_until(f"data for {query}", lambda query=query: asked(prometheus, query), 60)
    one = asked(prometheus, f'container_pids_limit{{container_id="{container}"}}')
    assert [row["value"][1] for row in one] == ["20"]
    assert len(panels) == 25
