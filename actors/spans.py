"""Spans: what each request of a trace took, told to an OpenTelemetry collector, where one is configured.

Each actor sends a note of a request that it has answered to the `metrics` actor, which hands them on in
batches: OTLP over HTTP, in its JSON encoding (opentelemetry.io/docs/specs/otlp). One process speaks to the
collector, so no other loads anything for it. What gets lost is lost: a span is worth no request's time.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from actors import __version__
from actors.tracing import of_request
from transport.envelope import Envelope, note
from transport.errors import ProtocolError, RemoteError

if TYPE_CHECKING:
    from actors.actor import Actor

ENDED: Final = "spans.ended"
RECEIVER: Final = "metrics"
MOST_WAITING = 4096  # spans; the oldest are given up for new ones
BATCH = 512  # spans in one request
PAUSE = 1.0  # seconds in which spans are gathered
REST = 10.0  # seconds after a failure, in which nothing is tried
LIMIT = 5.0  # seconds that the collector may take
_PATH: Final = "/v1/traces"
_SERVER, _OK, _ERROR = 2, 1, 2  # as opentelemetry/proto/trace/v1 numbers them


def timed(
    send: Callable[[Envelope], None], asked: Envelope, body: Any, actor: str
) -> Callable[[Envelope], None]:
    """`send` for the answers of a request: with the last one, the time that it took is told, if traced."""
    cause, began = of_request(asked, body), time.time_ns()
    if not cause.trace:
        return send

    def sending(message: Envelope) -> None:
        ended = time.time_ns()  # before whoever asked can go on, and end
        send(message)
        if message.type in ("FIN", "ERR"):
            span = {**cause._asdict(), "actor": actor, "began": began, "ended": ended}
            send(note(RECEIVER, ENDED, {**span, "error": _code(message)}))

    return sending


def _code(message: Envelope) -> str:
    if message.type == "FIN":
        return ""
    try:
        return RemoteError.from_body(message.value()).code
    except ProtocolError:
        return "internal"


class Exporter:
    """Hands spans on to a collector, in a thread of its own."""

    def __init__(self, endpoint: str, actor: "Actor") -> None:
        """`endpoint`: its address, to which the path is added, as OTEL_EXPORTER_OTLP_ENDPOINT has it."""
        self._url = endpoint.rstrip("/") + _PATH
        self._actor = actor
        self._waiting: deque[Mapping[str, Any]] = deque(maxlen=MOST_WAITING)
        self._some = threading.Event()
        self._silent = False
        threading.Thread(target=self._run, daemon=True, name="spans").start()

    def take(self, message: Envelope) -> None:
        """A note that may be about a span; only our own actors' are heeded."""
        if message.op != ENDED or message.fr.startswith("~"):
            return
        self._waiting.append(message.value())
        self._some.set()

    def _run(self) -> None:
        while True:
            self._some.wait()
            time.sleep(PAUSE)
            self._some.clear()
            while batch := self._next():
                self._export(batch)

    def _next(self) -> list[Mapping[str, Any]]:
        count = min(BATCH, len(self._waiting))
        return [self._waiting.popleft() for _ in range(count)]

    def _export(self, batch: list[Mapping[str, Any]]) -> None:
        settings = self._actor.settings
        document = encoded(batch, settings.node, self._actor.birth.instance)
        try:
            _post(self._url, document)
        except OSError as error:  # what requests raises is one
            if not self._silent:
                self._actor.log.warning("no spans for %s: %s; tried again", self._url, error)
            self._silent = True
            time.sleep(REST)
        else:
            if self._silent:
                self._actor.log.info("%s takes spans again", self._url)
            self._silent = False


def _post(url: str, document: bytes) -> None:
    """Raises OSError."""
    import requests  # noqa: PLC0415  # only where a collector is configured

    headers = {"Content-Type": "application/json", "User-Agent": f"actord/{__version__}"}
    answer = requests.post(url, data=document, headers=headers, timeout=LIMIT, allow_redirects=False)
    answer.raise_for_status()


def encoded(batch: list[Mapping[str, Any]], node: str, instance: str) -> bytes:
    """An ExportTraceServiceRequest, in JSON."""
    resource = {"service.name": "actord", "service.version": __version__, "host.name": node}
    scope = {"name": "actord", "version": __version__}
    spans = {"scope": scope, "spans": list(map(_span, batch))}
    about = {"attributes": _attributes({**resource, "service.instance.id": instance})}
    return json.dumps({"resourceSpans": [{"resource": about, "scopeSpans": [spans]}]}).encode()


def _span(one: Mapping[str, Any]) -> dict[str, Any]:
    error = one["error"]
    more = {"actord.actor": one["actor"], "container.id": one["container"], "error.type": error}
    return {
        "traceId": one["trace"],
        "spanId": one["span"],
        **({"parentSpanId": one["parent"]} if one["parent"] else {}),
        "name": one["op"],
        "kind": _SERVER,
        "startTimeUnixNano": str(one["began"]),
        "endTimeUnixNano": str(one["ended"]),
        "attributes": _attributes({key: value for key, value in more.items() if value}),
        "status": {"code": _ERROR, "message": error} if error else {"code": _OK},
    }


def _attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
