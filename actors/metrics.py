"""Metrics: Prometheus text over HTTP on loopback, for containers and for the tree itself.

States: none; each scrape asks the supervisor and metadata and reads the cgroup files. The port stays the
same over restarts (a free one, when the settings say 0, is noted in the state directory). Restarted by
the supervisor, always.
"""

import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from actors import __version__
from actors import messages as m
from actors.actor import Actor
from actors.call import Call
from actors.linux import cgroups
from actors.settings import metrics_address
from transport.errors import RemoteError

SCRAPE_LIMIT = 5.0  # seconds


class MetricsActor(Actor):
    """Serves `/metrics`; its only operation says where."""

    kind = "metrics"

    def started(self) -> None:
        """Listen, then serve in a thread of its own."""
        host, port = metrics_address(self.settings)
        noted = self.settings.state / "metrics.port"
        if port == 0 and noted.exists():
            port = int(noted.read_text())
        self._server = WSGIServer((host, port), _QuietHandler)
        self._server.set_app(self._application())
        noted.write_text(str(self._server.server_port))
        self._url = f"http://{host}:{self._server.server_port}/metrics"
        # It looks whether it is to stop every half second, unless told otherwise; it ends with the process.
        still = {"poll_interval": 3600.0}
        threading.Thread(target=self._server.serve_forever, kwargs=still, daemon=True, name="http").start()

    def _application(self) -> Any:
        registry = CollectorRegistry()
        registry.register(_Tree(self))
        registry.register(_Containers(self))
        serve = make_wsgi_app(registry)

        def application(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["PATH_INFO"] in ("/metrics", "/v1/metrics"):
                return serve(environ, start_response)
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"see /metrics\n"]

        return application

    def metrics_address(self, _body: m.MetricsAddress, _: Call) -> dict[str, str]:
        """Where to scrape."""
        return {"url": self._url}


class _QuietHandler(WSGIRequestHandler):
    timeout = 10  # seconds that a client may take to send its request

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """A scrape every few seconds is no news."""


class _Tree(Collector):
    """What the supervisor knows of its children."""

    def __init__(self, actor: MetricsActor) -> None:
        self._actor = actor

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering must not ask anybody."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One sample an actor."""
        yield InfoMetricFamily("actord_build", "Version of the daemon.", {"version": __version__})
        up = GaugeMetricFamily("actord_actor_up", "Whether the actor runs.", labels=["actor", "kind"])
        restarts = CounterMetricFamily("actord_actor_restarts", "Restarts of the actor.", labels=["actor"])
        memory = GaugeMetricFamily(
            "actord_actor_memory_bytes",
            "Proportional set size of the actor's process.",
            labels=["actor"],
        )
        reports = CounterMetricFamily(
            "actord_supervision_reports", "What the supervision tree has reported.", labels=["kind"]
        )
        found = self._tree()
        for kind, number in found["reports"].items():
            reports.add_metric([kind], number)
        for one in found["actors"]:
            up.add_metric([one["name"], one["kind"]], 1.0 if one["state"] == "running" else 0.0)
            restarts.add_metric([one["name"]], one["restarts"])
            memory.add_metric([one["name"]], one["memory"])
        yield from (up, restarts, memory, reports)

    def _tree(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._actor.call(m.Actors(), limit=SCRAPE_LIMIT)
        except RemoteError as error:
            self._actor.log.warning("the tree cannot be shown: %s", error)
            return {"actors": [], "reports": {}}
        return found


class _Containers(Collector):
    """What the cgroup files say of each running container."""

    def __init__(self, actor: MetricsActor) -> None:
        self._actor = actor
        self._layout = cgroups.detect()

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering must not ask anybody."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One sample a running container."""
        labels = ["container_id", "namespace", "runtime"]
        cpu = CounterMetricFamily(
            "container_cpu_total_nanoseconds", "Processor time used.", labels=labels, unit="nanoseconds"
        )
        memory = GaugeMetricFamily("container_memory_usage_usage_bytes", "Memory in use.", labels=labels)
        pids = GaugeMetricFamily("container_pids_current", "Processes and threads.", labels=labels)
        for container in self._running():
            values = [container["id"], container["namespace"], container["runtime"]]
            found = cgroups.statistics(self._layout, f"/actord/{container['namespace']}/{container['id']}")
            if found is not None:
                cpu.add_metric(values, found.cpu_nanoseconds or 0)
                memory.add_metric(values, found.memory_bytes or 0)
                pids.add_metric(values, found.pids or 0)
        yield from (cpu, memory, pids)

    def _running(self) -> list[dict[str, Any]]:
        try:
            everyone = self._actor.call(m.ContainersList(), limit=SCRAPE_LIMIT)["containers"]
        except RemoteError as error:
            self._actor.log.warning("the containers cannot be listed: %s", error)
            return []
        return [one for one in everyone if (one["task"] or {}).get("status") == "running"]
