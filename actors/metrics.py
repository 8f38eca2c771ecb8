"""Metrics: Prometheus text over HTTP on loopback, for containers and the tree itself; a page for browsers.

States: none; each scrape asks the supervisor and metadata and reads the cgroup files. The port stays the
same over restarts (a free one, when the settings say 0, is noted in the state directory). Restarted by
the supervisor, always.
"""

import io
import logging
import platform
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, TextIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from actors import __version__
from actors import internal_metrics as internal
from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.container_text import Owned
from actors.exposition import Exposition, answered
from actors.linux import cgroups
from actors.linux.cgroup_figures import figures
from actors.metric_names import Family, families
from actors.nodes.merging import merged
from actors.overview import Overview, place
from actors.page import Page
from actors.paging import everything
from actors.settings import metrics_address
from actors.spans import Exporter
from actors.zygote.place import PROTOCOL
from transport.envelope import Envelope
from transport.errors import RemoteError

SCRAPE_LIMIT = 5.0  # seconds
LISTEN_AGAIN = 5.0  # seconds
SHOWN_EVENTS = 50
ALL_NODES = "nodes=all"
PLAIN = [("Content-Type", "text/plain")]
MOST_PORT = 1 << 16
AT_ONCE = 16  # requests; a browser holds connections open that it may never use
BUILD = {"version": __version__, "protocol": str(PROTOCOL), "python": platform.python_version()}


log = logging.getLogger("metrics")


class MetricsActor(Actor):
    """Serves `/metrics`; its only operation says where."""

    kind = "metrics"

    def started(self) -> None:
        """Listen, then serve in a thread of its own."""
        self._transfers = _Transfers()
        endpoint = self.settings.tracing_otlp_endpoint
        self._exporter = Exporter(endpoint, self) if endpoint else None
        self._url = ""
        self._listen()

    def noted(self, message: Envelope) -> None:
        """An actor has answered a request of a trace."""
        if self._exporter is not None:
            self._exporter.take(message)

    def _listen(self) -> None:
        """As soon as nobody else has the port: that is no reason to do without a daemon."""
        host, port = metrics_address(self.settings)
        noted = self.settings.state / "metrics.port"
        port = port or _noted(noted)
        try:
            self._server = _Server((host, port), _QuietHandler)
        except OSError as error:
            self.log.warning("no metrics at %s:%s: %s; tried again", host, port, error.strerror)
            self.later(LISTEN_AGAIN, self._listen)
            return
        self._server.set_app(self._application())
        self._note(self._server.server_port, noted)
        self._url = f"http://{host}:{self._server.server_port}/metrics"
        # It looks whether it is to stop every half second, unless told otherwise; it ends with the process.
        still = {"poll_interval": 3600.0}
        threading.Thread(target=self._server.serve_forever, kwargs=still, daemon=True, name="http").start()

    def _note(self, port: int, path: Path) -> None:
        """On a full disk the next one may take another port; that is no reason to do without this one."""
        fresh = path.with_suffix(".new")
        try:
            fresh.write_text(str(port))
            fresh.rename(path)
        except OSError as error:
            self.log.warning("the port of the metrics is not noted: %s", error)

    def _application(self) -> Any:
        registry = CollectorRegistry()
        registry.register(_Tree(self))
        registry.register(_Nodes(self))
        registry.register(_Images(self))
        registry.register(_Stores(self))
        registry.register(self._transfers)
        self._exposition = Exposition(registry, _Containers(self).taken)
        page = self._page() if self.settings.metrics_page else None

        def application(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["PATH_INFO"] in ("/metrics", "/v1/metrics"):
                if ALL_NODES in environ.get("QUERY_STRING", "").split("&"):
                    return of_all(environ, start_response)
                return self._exposition.application(environ, start_response)
            if page is not None:
                return page(environ, start_response)
            start_response("404 Not Found", PLAIN)
            return [b"see /metrics\n"]

        def of_all(environ: dict[str, Any], start_response: Any) -> Any:
            try:
                found = merged(self._everywhere())
            except RemoteError as error:  # there is no word of who they are, just now
                start_response("503 Service Unavailable", PLAIN)
                return [f"{error}\n".encode()]
            return answered(environ, start_response, found, CONTENT_TYPE_LATEST)

        return application

    def _everywhere(self) -> dict[str, str | None]:
        """The metrics of this node and of those that it has joined, all asked at once. Raises RemoteError."""
        known = self.call(m.NodesList(), limit=SCRAPE_LIMIT)
        joined = {one["name"]: one["state"] for one in known["nodes"] if one["link"] == "joined"}
        asked = {
            name: self.begin(m.MetricsScrape(), to=f"{name}/metrics", limit=SCRAPE_LIMIT)
            for name, state in joined.items()
            if state in ("up", "suspect")
        }
        found: dict[str, str | None] = {known["own"]: self._text(), **dict.fromkeys(joined)}
        for name, wait in asked.items():
            try:
                found[name] = str(wait()["text"])
            except (RemoteError, LookupError, TypeError) as error:  # a peer's answer may be anything
                self.log.warning("the metrics of node %s are left out: %s", name, error)
        return found

    def _text(self) -> str:
        return self._exposition.scraped()[0].decode()

    def metrics_scrape(self, _body: m.MetricsScrape, call: Call) -> Later:
        """In a worker thread, as over HTTP."""
        self.work(lambda: {"text": self._text()}, call.settle)
        return LATER

    def _page(self) -> Page:
        host, _, _ = self.settings.metrics_listen.rpartition(":")
        names = (host, "127.0.0.1", "localhost", "[::1]")
        return Page({f"{name}:{self._server.server_port}" for name in names}, self._shown)

    def _shown(self) -> dict[str, Any]:
        """What the page shows. Raises RemoteError."""
        return {
            **Overview(self).taken(""),
            "images": [
                one
                for space in self.call(m.NamespacesList())["namespaces"]
                for one in everything(self.call, m.ImagesList(space["name"]), "images")
            ],
            "events": self.call(m.EventsRecent(SHOWN_EVENTS))["events"],
        }

    def metrics_address(self, _body: m.MetricsAddress, _: Call) -> dict[str, str]:
        """Where to scrape."""
        if not self._url:
            raise RemoteError("unavailable", "somebody else has the metrics port; see the daemon's log")
        return {"url": self._url}

    def metrics_overview(self, body: m.MetricsOverview, call: Call) -> Later:
        """What is going on, from those who know."""

        def taken() -> Any:
            try:
                return {**Overview(self).taken(body.namespace), "transferred": self._transfers.moved()}
            except RemoteError as error:
                return error

        self.work(taken, call.settle)
        return LATER

    def metrics_usage(self, body: m.MetricsUsage, call: Call) -> Later:
        """From the control groups, in a worker thread."""

        def used() -> Any:
            try:
                return {"containers": Overview(self).used(body)}
            except RemoteError as error:
                return error

        self.work(used, call.settle)
        return LATER

    def metrics_transferred(self, body: m.MetricsTransferred, _: Call) -> None:
        """Of a transfer, while it goes on."""
        self._transfers.note(body)


def _noted(path: Path) -> int:
    """The port of the last one; 0, for any, where there was none, or a power cut has left half a note."""
    try:
        port = int(path.read_text())
    except (OSError, ValueError):
        return 0
    return port if 0 < port < MOST_PORT else 0


class _Transfers(internal.Transfers, Collector):
    """As the registry wants it."""

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []


class _Server(ThreadingMixIn, WSGIServer):
    """Several at once, so that one who says nothing does not keep the others waiting."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        super().__init__(address, handler)
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if there is room; else the connection is closed."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread can be had
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """To the end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or says nothing, is no news; what else there is, is logged."""
        del request, client_address
        if not isinstance(sys.exception(), OSError):
            log.error("a request could not be answered", exc_info=sys.exception())


class _Errors(io.StringIO):
    """Where a traceback would be printed, in lines that are not the log's."""

    def flush(self) -> None:
        """One is complete."""
        if self.getvalue():
            log.error("a request could not be answered", exc_info=sys.exception())
        self.seek(0)
        self.truncate()


class _QuietHandler(WSGIRequestHandler):
    timeout = 10  # seconds that a client may take to send its request

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """A scrape every few seconds is no news."""

    def get_stderr(self) -> TextIO:
        """For what the application raises."""
        return _Errors()


class _Asking:
    """Asks other actors when it is scraped; whoever does not answer in time is left out."""

    def __init__(self, actor: MetricsActor) -> None:
        self._actor = actor

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering must not ask anybody."""
        return []

    def ask(self, body: Any, missing: dict[str, Any]) -> dict[str, Any]:
        """The answer, or `missing`."""
        try:
            return self._answer(body)
        except RemoteError as error:
            self._left_out(body, error)
            return missing

    def listed(self, body: Any, key: str) -> list[Any]:
        """All of a list that comes in pages, or nothing of it."""
        try:
            return everything(self._answer, body, key)
        except RemoteError as error:
            self._left_out(body, error)
            return []

    def _answer(self, body: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._actor.call(body, limit=SCRAPE_LIMIT)
        return found

    def _left_out(self, body: Any, error: RemoteError) -> None:
        self._actor.log.warning("%s is left out: %s", m.operation_of(body).name, error)


class _Tree(_Asking, Collector):
    """What the supervisor and the router have counted, and each of the other actors that there is one of."""

    def collect(self) -> Iterator[Metric]:
        """A few samples an actor."""
        build = Family("actord_build")
        build.metric.add_metric((), BUILD)  # type: ignore[attr-defined]  # an info has it
        yield build.metric
        told = self.ask(m.Actors(memory=False), {"actors": [], "reports": {}, "exits": []})
        yield from internal.of_actors(told["actors"])
        yield from internal.of_the_tree(told)
        yield from internal.of_figures(self._figures(internal.asked(told["actors"])))
        traffic = self.ask(m.RouterTraffic(), {})
        yield from internal.of_traffic(traffic) if traffic else ()

    def _figures(self, actors: list[str]) -> dict[str, Any]:
        """All are asked before the first answer is waited for."""
        asked = {name: self._actor.begin(m.MetricsFigures(), to=name, limit=SCRAPE_LIMIT) for name in actors}
        found = {}
        for name, wait in asked.items():
            try:
                found[name] = wait()
            except RemoteError as error:
                self._actor.log.warning("%s is left out: %s", name, error)
        return found


class _Stores(_Asking, Collector):
    """How large they are."""

    def __init__(self, actor: MetricsActor) -> None:
        super().__init__(actor)
        self._stores = internal.Stores(actor.settings)

    def collect(self) -> Iterator[Metric]:
        """A look at most once a minute, then what was seen."""
        if self._stores.is_due:
            recorded = self.ask(m.SnapshotsUsages(recorded=True), {"usages": []})
            self._stores.look(recorded["usages"])
        yield from self._stores.collect()


class _Nodes(_Asking, Collector):
    """How the other nodes are."""

    def collect(self) -> Iterator[Metric]:
        """Three samples of each."""
        up, phi, trip = families("actord_node_up", "actord_node_phi", "actord_node_round_trip_seconds")
        for one in self.ask(m.NodesList(), {"nodes": []})["nodes"]:
            who = (one["name"], one["link"])
            up.add(float(one["state"] in ("up", "suspect")), *who)
            phi.add(one["phi"], *who)
            if one.get("round_trip"):
                trip.add(one["round_trip"], *who)
        yield from (family.metric for family in (up, phi, trip))


class _Images(_Asking, Collector):
    """How many there are."""

    def collect(self) -> Iterator[Metric]:
        """A count for each namespace."""
        images = Family("actord_images")
        for space in self.ask(m.NamespacesList(), {"namespaces": []})["namespaces"]:
            images.add(len(self.listed(m.ImagesList(space["name"]), "images")), space["name"])
        yield images.metric


def _of_containers(every: list[dict[str, Any]]) -> Iterator[Metric]:
    counts = Counter((one["namespace"], (one["task"] or {}).get("status", "created")) for one in every)
    states = Family("actord_containers")
    for (namespace, status), count in sorted(counts.items()):
        states.add(count, namespace, status)
    yield states.metric


class _Containers(_Asking):
    """What the cgroup files say of each running container, under containerd's names."""

    def __init__(self, actor: MetricsActor) -> None:
        super().__init__(actor)
        self._layout = cgroups.mounted()

    def taken(self) -> tuple[Iterable[Metric], Iterable[Owned]]:
        """Their counts, and what each uses."""
        every = self.listed(m.ContainersList(brief=True), "containers")
        running = [one for one in every if (one["task"] or {}).get("status") in ("running", "paused")]
        return _of_containers(every), map(self._used, running)

    def _used(self, container: dict[str, Any]) -> Owned:
        own = {
            "container_id": container["id"],
            "namespace": container["namespace"],
            "runtime": container["runtime"],
        }
        return own, figures(self._layout, place(self._actor.settings, container))
