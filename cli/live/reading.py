"""Readings of the whole daemon, and what two of them say together: rates."""

from __future__ import annotations

import time

from cli.events import events
from cli.progress import Layers
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

SECOND = 1_000_000_000
REMEMBERED = 50  # events
SINCE = 900  # seconds before now of which events are shown at first
_TELLING = ("/tasks/exit", "/tasks/oom", "/tasks/restart")
_ACTORS = "/actors/"


class Readings:
    """The last reading and the one before it.

    Attributes:
        now: what `metrics.overview` has answered last.
        before: and the time before that; empty at first.
        news: what went wrong or came to an end, the newest last.
        arriving: blobs under way, with their rates.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.now: dict[str, Any] = {}
        self.before: dict[str, Any] = {}
        self.news: list[dict[str, Any]] = []
        self.arriving = Layers()
        self._earlier: dict[str, dict[str, Any]] = {}
        self._reached = 0

    def take(self) -> None:
        """One more. Raises RefusedError, NotRunningError."""
        found = self._session.ask("metrics", "metrics.overview", {})
        self.before, self.now = self.now, found
        everybody = (*self.before.get("actors", ()), *self.before.get("containers", ()))
        self._earlier = {identity(one): one for one in everybody}
        self._take_ingests()
        try:
            self._take_news()
        except RefusedError as error:  # the journal is only just coming back
            if error.code != "unavailable":
                raise

    def _take_ingests(self) -> None:
        moment = time.monotonic()
        known, self.arriving = self.arriving.layers, Layers()
        for one in self.now["ingests"]:
            ref = one["expected"] or one["ref"]
            part = {"ref": ref, "status": "arriving", "offset": one["offset"], "total": one["total"]}
            if ref in known:
                self.arriving.layers[ref] = known[ref]
            self.arriving.update(part, moment)

    def _take_news(self) -> None:
        wish: dict[str, Any] = {"namespace": "", "follow": False}
        if self._reached:
            wish["after"] = self._reached
        else:
            wish["since"] = time.time_ns() - SINCE * SECOND
        for event in events(self._session, wish):
            self._reached = max(self._reached, event["seq"])
            if event["topic"].startswith((_ACTORS, *_TELLING)):
                self.news.append(event)
        del self.news[:-REMEMBERED]

    def rate(self, key: str) -> float:
        """How much a sum of the overview grows, a second; 0 after it began anew."""
        return self._growth(self.before.get(key, 0), self.now[key]) if self.before else 0.0

    def transferred(self) -> float:
        """Bytes a second from and to registries."""
        if not self.before:
            return 0.0
        before, now = (sum(one["transferred"].values()) for one in (self.before, self.now))
        return self._growth(before, now)

    def _growth(self, before: float, now: float) -> float:
        span = (self.now["at"] - self.before["at"]) / SECOND
        return max(0.0, (now - before) / span) if span > 0 else 0.0

    def processor(self, one: dict[str, Any]) -> float | None:
        """How much of one processor an actor or a container takes, in percent. None where nobody knows."""
        key, unit = ("processor", 1) if "processor" in one else ("cpu_nanoseconds", SECOND)
        before = self._earlier.get(identity(one), {})
        if one.get(key) is None or before.get(key) is None or one.get("pid") != before.get("pid"):
            return None
        return 100 * self._growth(before[key] / unit, one[key] / unit)


def identity(one: dict[str, Any]) -> str:
    """Names an actor or a container."""
    return f"{one['namespace']}/{one['id']}" if "id" in one else str(one["name"])
