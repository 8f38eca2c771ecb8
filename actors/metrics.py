"""Metrics: Prometheus text over HTTP on loopback, for containers and for the tree itself.

States: none; each scrape asks the supervisor and metadata and reads the cgroup files. The port stays the
same over restarts (a free one, when the settings say 0, is noted in the state directory). Restarted by
the supervisor, always.
"""

import contextlib
import threading
from collections import Counter
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
from actors.container_metrics import GAUGES, PREFIX, samples
from actors.linux import cgroups, process
from actors.linux.cgroup_figures import figures
from actors.runtime.bundle import actual_cgroups_path, cgroups_path
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
        registry.register(_Images(self))
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


class _Asking(Collector):
    """Asks other actors when it is scraped; whoever does not answer in time is left out."""

    def __init__(self, actor: MetricsActor) -> None:
        self._actor = actor

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering must not ask anybody."""
        return []

    def ask(self, body: Any, missing: dict[str, Any]) -> dict[str, Any]:
        """The answer, or `missing`."""
        try:
            found: dict[str, Any] = self._actor.call(body, limit=SCRAPE_LIMIT)
        except RemoteError as error:
            self._actor.log.warning("%s is left out: %s", m.operation_of(body).name, error)
            return missing
        return found


class _Tree(_Asking):
    """What the supervisor knows of its children, and the kernel of their processes."""

    def collect(self) -> Iterator[Metric]:
        """A few samples an actor."""
        yield InfoMetricFamily("actord_build", "Version of the daemon.", {"version": __version__})
        found = self.ask(m.Actors(memory=False), {"actors": [], "reports": {}})
        reports = CounterMetricFamily(
            "actord_supervision_reports", "What the supervision tree has reported.", labels=["kind"]
        )
        for kind, number in found["reports"].items():
            reports.add_metric([kind], number)
        yield reports
        yield from _of_actors(found["actors"])


def _of_actors(actors: list[dict[str, Any]]) -> Iterator[Metric]:
    up = GaugeMetricFamily("actord_actor_up", "Whether the actor runs.", labels=["actor", "kind"])
    restarts = CounterMetricFamily("actord_actor_restarts", "Restarts of the actor.", labels=["actor"])
    memory = GaugeMetricFamily(
        "actord_actor_resident_bytes", "Memory of its process, shared pages in full.", labels=["actor"]
    )
    processor = CounterMetricFamily(
        "actord_actor_cpu_seconds", "Processor time of its process.", labels=["actor"]
    )
    files = GaugeMetricFamily("actord_actor_open_fds", "Open descriptors of its process.", labels=["actor"])
    for one in actors:
        name = [one["name"]]
        up.add_metric([one["name"], one["kind"]], 1.0 if one["state"] == "running" else 0.0)
        restarts.add_metric(name, one["restarts"])
        with contextlib.suppress(OSError):  # it has ended, or is not there yet
            usage = process.usage(one["pid"])
            memory.add_metric(name, usage.resident)
            processor.add_metric(name, usage.processor)
            files.add_metric(name, usage.descriptors)
    yield from (up, restarts, memory, processor, files)


class _Images(_Asking):
    """How many there are."""

    def collect(self) -> Iterator[Metric]:
        """A count for each namespace."""
        images = GaugeMetricFamily("actord_images", "Names of images.", labels=["namespace"])
        for space in self.ask(m.NamespacesList(), {"namespaces": []})["namespaces"]:
            listed = self.ask(m.ImagesList(space["name"]), {"images": []})["images"]
            images.add_metric([space["name"]], len(listed))
        yield images


def _of_containers(every: list[dict[str, Any]]) -> Iterator[Metric]:
    counts = Counter((one["namespace"], (one["task"] or {}).get("status", "created")) for one in every)
    states = GaugeMetricFamily(
        "actord_containers", "Containers by state of their task.", labels=["namespace", "status"]
    )
    for (namespace, status), count in sorted(counts.items()):
        states.add_metric([namespace, status], count)
    yield states


class _Containers(_Asking):
    """What the cgroup files say of each running container, under containerd's names."""

    def __init__(self, actor: MetricsActor) -> None:
        super().__init__(actor)
        self._layout = cgroups.detect()

    def collect(self) -> Iterator[Metric]:
        """Their counts; then a family for each name, a sample for each container that has it."""
        every = self.ask(m.ContainersList(), {"containers": []})["containers"]
        yield from _of_containers(every)
        families: dict[str, Metric] = {}
        for container in every:
            if (container["task"] or {}).get("status") in ("running", "paused"):
                self._add(families, container)
        yield from families.values()

    def _add(self, families: dict[str, Any], container: dict[str, Any]) -> None:
        own = {
            "container_id": container["id"],
            "namespace": container["namespace"],
            "runtime": container["runtime"],
        }
        for sample in samples(figures(self._layout, self._place(container))):
            labels = own | dict(sample.labels)
            family = families.get(sample.name)
            if family is None:
                family = families[sample.name] = _family(sample.name, list(labels))
            family.add_metric(list(labels.values()), sample.value)

    def _place(self, container: dict[str, Any]) -> str:
        """Of its cgroups; clients of containerd's API choose their own."""
        namespace, identity = container["namespace"], container["id"]
        if container["options"].get("foreign"):
            return actual_cgroups_path(self._actor.settings.bundle(namespace, identity))
        return cgroups_path(namespace, identity)


def _family(name: str, labels: list[str]) -> Any:
    """A counter where the name says so, which makes the same name of it."""
    kind = CounterMetricFamily if name.endswith("_total") and name not in GAUGES else GaugeMetricFamily
    text = f"{name.replace('_', ' ')}, from the control group."  # the kernel's documentation has the meaning
    return kind(f"{PREFIX}_{name}", text, labels=labels)
