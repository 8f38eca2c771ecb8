"""Metrics: Prometheus text over HTTP on loopback, for containers and the tree itself; a page for browsers.

States: none; each scrape asks the supervisor and metadata and reads the cgroup files. The port stays the
same over restarts (a free one, when the settings say 0, is noted in the state directory). Restarted by
the supervisor, always.
"""

import threading
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.exposition import Exposition, answered
from actors.metric_collectors import SCRAPE_LIMIT, Containers, Images, Nodes, Stores, Transfers, Tree
from actors.metrics_server import QuietHandler, Server
from actors.nodes.merging import merged
from actors.overview import Overview
from actors.page import Page
from actors.paging import everything
from actors.settings import metrics_address
from actors.spans import Exporter
from transport.envelope import Envelope
from transport.errors import RemoteError

LISTEN_AGAIN = 5.0  # seconds
SHOWN_EVENTS = 50
ALL_NODES = "nodes=all"
PLAIN = [("Content-Type", "text/plain")]
MOST_PORT = 1 << 16


class MetricsActor(Actor):
    """Serves `/metrics`; answers what is asked about figures."""

    kind = "metrics"

    def started(self) -> None:
        """Listen, then serve in a thread of its own."""
        self._transfers = Transfers()
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
            self._server = Server((host, port), QuietHandler)
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
        registry.register(Tree(self))
        registry.register(Nodes(self))
        registry.register(Images(self))
        registry.register(Stores(self))
        registry.register(self._transfers)
        self._exposition = Exposition(registry, Containers(self).taken)
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
