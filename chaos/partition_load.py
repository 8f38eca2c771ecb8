"""What goes on between two hosts while the wires between them are at fault, and what it shows.

A client on one host works with the other through its own daemon: it asks for effects that can be counted and
follows the events. All of them note times of the monotonic clock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from transport.client import Client, NotRunningError
from transport.errors import ProtocolError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaos.hosts import Host
    from transport.client import Message

LOOK_EVERY = 0.03  # seconds
ASK_EVERY = 0.05
MANY = 10  # effects, one after the other
ANSWER = 4.0  # seconds for an answer
CREDIT = 1000  # events
FAILURES = (RemoteError, NotRunningError, ProtocolError, OSError)


class Working(threading.Thread):
    """Does one thing again and again with a connection to a host's daemon, a new one after a failure."""

    def __init__(self, host: Host, pause: float) -> None:
        super().__init__(daemon=True)
        self.host, self._pause = host, pause
        self._stop_wanted = threading.Event()

    def run(self) -> None:
        """Until told to stop."""
        while not self._stop_wanted.is_set():
            with contextlib.suppress(*FAILURES), contextlib.closing(self._connect()) as client:
                while not self._stop_wanted.wait(self._pause):
                    self.turn(client)
            self._stop_wanted.wait(self._pause)

    def _connect(self) -> Client:
        return Client(str(self.host.socket), patience=0)

    def turn(self, client: Client) -> None:
        """Once. May raise one of FAILURES."""
        raise NotImplementedError

    def stop(self) -> None:
        """Have it end, and wait for that."""
        self._stop_wanted.set()
        self.join(60)


class View(Working):
    """What one host thinks of another: each change, with its time."""

    def __init__(self, host: Host, other: Host) -> None:
        super().__init__(host, LOOK_EVERY)
        self._other = other
        self.changes: list[tuple[float, str]] = []

    def turn(self, client: Client) -> None:
        """Look."""
        nodes = client.request("nodes.list", {}, to="nodes", limit=ANSWER)["nodes"]
        [state] = [one["state"] for one in nodes if one["name"] == self._other.name]
        if not self.changes or self.changes[-1][1] != state:
            self.changes.append((time.monotonic(), state))

    @property
    def state(self) -> str:
        """The last that was seen."""
        return self.changes[-1][1] if self.changes else ""

    def first(self, states: tuple[str, ...], since: float) -> float | None:
        """When it first was one of these, from then on."""
        return next((at for at, state in self.changes if at >= since and state in states), None)


class Effects(Working):
    """Asks another host for things that are there for good once they are done, and notes what it is told."""

    def __init__(self, host: Host, other: Host, run: str) -> None:
        super().__init__(host, ASK_EVERY)
        self._other, self._run_name = other, run
        self.outcomes: dict[str, str] = {}
        self._done: list[float] = []

    def turn(self, client: Client) -> None:
        """One effect, asked for once."""
        key = f"{self._run_name}-{len(self.outcomes)}"
        self.outcomes[key] = "unknown"
        wish = {"namespace": "default", "labels": {"effect": key}}
        try:
            client.request("leases.create", wish, to=f"{self._other.name}/metadata", limit=ANSWER)
        except RemoteError as error:
            self.outcomes[key] = "unknown" if error.outcome == "unknown" else "refused"
        else:
            self.outcomes[key] = "done"
            self._done.append(time.monotonic())

    def many_done(self, since: float) -> bool:
        """Whether it has worked well for a while since then."""
        return len(self._done) >= MANY and self._done[-MANY] > since

    def first_done(self, since: float) -> float:
        """When it first was, from then on."""
        return next((at for at in self._done if at > since), since)

    def judged(self) -> dict[str, int]:
        """How many were done, refused or in doubt, done twice, and otherwise than was said."""
        leases = self._other.ask("leases.list", "metadata", namespace="default")["leases"]
        times = Counter(one["labels"].get("effect") for one in leases)
        found = Counter(self.outcomes.values())
        lies = [
            key
            for key, outcome in self.outcomes.items()
            if (outcome == "done" and not times[key]) or (outcome == "refused" and times[key])
        ]
        twice = sum(times[key] > 1 for key in self.outcomes)
        return {
            **{key: found[key] for key in ("done", "refused", "unknown")},
            "twice": twice,
            "lies": len(lies),
        }


class Marks(Working):
    """Has a host publish events of its own, so that there is something to follow."""

    def __init__(self, host: Host) -> None:
        super().__init__(host, ASK_EVERY)

    def turn(self, client: Client) -> None:
        """One event; one whose answer got lost is published once all the same."""
        now = time.time_ns()
        body = {
            "namespace": "default",
            "topic": "/partitions/mark",
            "key": f"mark-{now}",
            "body": {},
            "at": now,
        }
        client.request("events.publish", body, to="events", limit=ANSWER, repeatable=True)


class Following(threading.Thread):
    """Follows the events of another host from now on; each has to come once, or a gap be marked."""

    def __init__(self, host: Host, other: Host) -> None:
        super().__init__(daemon=True)
        self._host, self._other = host, other
        self.reached = self.last()
        self.lost = self.doubled = self.gaps = 0
        self.came_at = 0.0
        self._stop_wanted = threading.Event()

    def last(self) -> int:
        """The number of the newest event there."""
        newest = self._other.ask("events.recent", "events", number=1)["events"]
        return newest[-1]["seq"] if newest else 0

    def run(self) -> None:
        """Until told to stop; a stream that breaks is taken up after what has come."""
        while not self._stop_wanted.wait(ASK_EVERY):
            with contextlib.suppress(*FAILURES), contextlib.closing(self._connect()) as client:
                for message in self._stream(client):
                    self._take(message)
                    if self._stop_wanted.is_set():
                        break

    def _connect(self) -> Client:
        return Client(str(self._host.socket), patience=0)

    def _stream(self, client: Client) -> Iterator[Message]:
        wish = {"after": self.reached, "follow": True}
        return client.stream(
            "events.subscribe",
            wish,
            to=f"{self._other.name}/events",
            credit=CREDIT,
            patience=0,
            silence=ANSWER,
        )

    def _take(self, message: Message) -> None:
        if message.kind != "event":
            return
        self.came_at = time.monotonic()
        if "gap" in message.body:
            self.gaps += 1
        elif message.seq <= self.reached:
            self.doubled += 1
        else:
            self.lost += message.seq - self.reached - 1
        self.reached = max(self.reached, message.seq)

    def stop(self, *, until: float) -> None:
        """Have it end once it has all that there is; what it has not by then is lost."""
        last = self.last()
        while self.reached < last and time.monotonic() < until:
            time.sleep(ASK_EVERY)
        self.lost += max(0, last - self.reached)
        self._stop_wanted.set()
        self.join(60)


class Container:
    """A container on a host that counts; whatever happens to wires, it must not notice."""

    def __init__(self, host: Host, actr: Callable[..., str]) -> None:
        self._host, self._actr = host, actr
        script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"
        self._id = actr(host, "run", "-d", "busybox:latest", "sh", "-c", script).strip()
        self._pid = self._process()

    def _process(self) -> Any:
        found = self._host.ask("containers.list", "metadata", namespace="default")["containers"]
        return next(one["task"]["pid"] for one in found if one["id"] == self._id)

    def untouched(self) -> bool:
        """The same process runs, and has counted on without a gap or a second line."""
        lines = self._actr(self._host, "logs", self._id).split()
        return self._process() == self._pid and lines == [str(one) for one in range(1, len(lines) + 1)]
