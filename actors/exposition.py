"""Metrics as they are scraped: in the text format or in OpenMetrics, compressed if that is wanted."""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector

from actors.container_metrics import PREFIX
from actors.container_samples import Owned, families, text

FASTEST: Final = 1  # of gzip's levels: 27 % of the text, where the best one has 25, in a third of the time
_END: Final = b"# EOF\n"  # of OpenMetrics
Containers = Callable[[], tuple[Iterable[Metric], Iterable[Owned]]]


class Exposition:
    """Everything that there is, at the moment it is asked for."""

    def __init__(self, registry: CollectorRegistry, containers: Containers) -> None:
        """`containers` gives metrics about all of them, and what each uses."""
        self._registry = registry
        self._containers = containers

    def scraped(self, accept: str = "", names: Iterable[str] = ()) -> tuple[bytes, str]:
        """The text that `accept`, the header, asks for, and its type; only of `names`, if there are any."""
        encode, kind = choose_encoder(accept)
        wanted = frozenset(names)
        registry = self._registry.restricted_registry(wanted) if wanted else self._registry
        more, used = self._containers()
        body: bytes = encode(_Both(registry, [one for one in more if not wanted or one.name in wanted]))
        is_open = body.endswith(_END)
        lines = _only(families(used), wanted)
        own = text(lines, open_metrics=is_open).encode()
        return (body.removesuffix(_END) + own + _END if is_open else body + own), kind

    def application(self, environ: Mapping[str, Any], start_response: Any) -> list[bytes]:
        """A scrape over HTTP."""
        if environ["REQUEST_METHOD"] != "GET":
            allowed = [("Allow", "OPTIONS,GET")]
            start_response("200 OK" if environ["REQUEST_METHOD"] == "OPTIONS" else "405 Not Allowed", allowed)
            return [b""]
        names = parse_qs(environ.get("QUERY_STRING", "")).get("name[]", ())
        return answered(environ, start_response, *self.scraped(environ.get("HTTP_ACCEPT", ""), names))


def answered(environ: Mapping[str, Any], start_response: Any, body: bytes, kind: str) -> list[bytes]:
    """Send it, compressed if the client takes that."""
    headers = [("Content-Type", kind)]
    if gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
        body = gzip.compress(body, FASTEST)
        headers.append(("Content-Encoding", "gzip"))
    start_response("200 OK", headers)
    return [body]


def _only(lines: dict[str, list[str]], wanted: frozenset[str]) -> dict[str, list[str]]:
    return {name: own for name, own in lines.items() if not wanted or f"{PREFIX}_{name}" in wanted}


class _Both(Collector):
    """What a registry collects, and more."""

    def __init__(self, registry: Any, more: list[Metric]) -> None:
        self._registry, self._more = registry, more

    def collect(self) -> Iterator[Metric]:
        """First the one, then the other."""
        return chain(self._registry.collect(), self._more)
