"""Ends of containers that are to go: marked, their interface removed, forgotten; until it is done.

A plugin of a cni network may refuse, for good even. No container waits for that: it stops and is removed, its
end stays on record with all its addresses, and is tried again, ever less often. Why it has not gone is known
since the last try: a new incarnation knows after its first one.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from actors import failpoints
from actors.networking.wiring import Wiring
from storage.errors import FailedPreconditionError
from storage.networks import Endpoint, Network, NetworkStore

TRIES: Final = 3  # while a container waits
PAUSE: Final = 1.0  # seconds between these
PATIENCE: Final = 5.0  # seconds after which it is not tried once more while a container waits
AGAIN: Final = 5.0  # seconds until the next try behind its back; each further pause is twice as long
RAREST: Final = 300.0  # seconds that such a pause takes at most

Done = Callable[[Any], None]
Key = tuple[str, str, str]
log = logging.getLogger("network")


class Removals:
    """For one thread, but for `attempt`.

    `path` gives the network namespace of a container; `in_order(key, work, then)` runs `work` in a thread,
    after whatever is under way for that container; `later(seconds, function)` calls it then.
    """

    def __init__(
        self,
        store: NetworkStore,
        wiring: Wiring,
        path: Callable[[str, str], Path],
        in_order: Callable[[str, Callable[[], Any], Done], None],
        later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self._store = store
        self._wiring = wiring
        self._path = path
        self._in_order = in_order
        self._later = later
        self._said: dict[Key, str] = {}  # why each has not gone
        self._pauses: dict[Key, float] = {}
        self._timed: set[Key] = set()

    def finish(self) -> None:
        """What an earlier incarnation began."""
        for end in self._store.endpoints():
            if end.removing:
                self.remove(end)

    def remove(self, end: Endpoint, then: Done = lambda _: None) -> None:
        """Begin; `then` is told None, or why it has not gone yet. It will be tried again in any case."""
        self._store.removing(end)
        failpoints.hit("network", "disconnect", "recorded")
        network, path = self._store.get(end.network), self._path(end.namespace, end.container)

        def tried(result: Any) -> None:
            if isinstance(result, Exception):
                self._keep(end, str(result))
            else:
                failpoints.hit("network", "disconnect", "unwired")
                if self._still_to_go(end):
                    self._store.forget(end)
                self._done(end)
            then(result)

        key = f"{end.namespace}/{end.container}"
        self._in_order(key, lambda: self._wiring.remove_endpoint(network, end, path), tried)

    def attempt(self, network: Network, end: Endpoint, path: Path) -> str:
        """In a worker thread, while its container waits: why a plugin will not; empty when it is gone.

        It is asked a few times, but only once if it has refused before.

        Raises:
            OSError: the kernel refused.
        """
        tries, until = 1 if end.key in self._said else TRIES, time.monotonic() + PATIENCE
        while True:
            try:
                self._wiring.remove_endpoint(network, end, path)
            except FailedPreconditionError as error:
                tries -= 1
                if not tries or time.monotonic() > until:
                    return str(error)
                time.sleep(PAUSE)
            else:
                return ""

    def attempted(self, ends: Sequence[Endpoint], refusals: Sequence[str]) -> list[str]:
        """Forget those that are gone, keep the others; gives what is to be said of these."""
        with self._store.transaction():
            for end, refusal in zip(ends, refusals, strict=True):
                if not refusal:
                    self._store.forget(end)
        for end, refusal in zip(ends, refusals, strict=True):
            if refusal:
                self._keep(end, refusal)
            else:
                self._done(end)
        return [self._complaint(end) for end, refusal in zip(ends, refusals, strict=True) if refusal]

    def of_container(self, namespace: str, container: str, networks: set[str]) -> list[Endpoint]:
        """Its ends in these networks that have not gone yet."""
        ends = self._store.endpoints(namespace=namespace, container=container)
        return [end for end in ends if end.removing and end.network in networks]

    def again(self, then: Callable[[list[str]], None]) -> None:
        """Try all of those that were refused, now; `then` is told what is to be said of those that stay."""
        left = [end for end in self._store.endpoints() if end.removing and end.key in self._said]
        waiting = len(left)

        def tried(_: Any) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                then([self._complaint(end) for end in left if end.key in self._said])

        for end in left:
            self.remove(end, tried)
        if not left:
            then([])

    def findings(self) -> list[dict[str, Any]]:
        """Each that was refused, as `network.check` tells it."""
        return [
            {"object": _whose(end), "problem": self._complaint(end), "mended": False}
            for end in self._store.endpoints()
            if end.removing and end.key in self._said
        ]

    def _keep(self, end: Endpoint, why: str) -> None:
        """It is tried again in a while, unless it is to be already."""
        self._said[end.key] = why
        log.warning("%s", self._complaint(end))
        if end.key not in self._timed:
            self._timed.add(end.key)
            pause = self._pauses.get(end.key, AGAIN)
            self._pauses[end.key] = min(RAREST, pause * 2)
            self._later(pause, lambda: self._due(end))

    def _due(self, end: Endpoint) -> None:
        self._timed.discard(end.key)
        if self._still_to_go(end):
            self.remove(end)

    def _still_to_go(self, end: Endpoint) -> bool:
        """Its container may have seen to it, and be on that network once more."""
        found = self._store.endpoint(*end.key)
        return found is not None and found.removing

    def _done(self, end: Endpoint) -> None:
        self._said.pop(end.key, None)
        self._pauses.pop(end.key, None)

    def _complaint(self, end: Endpoint) -> str:
        held = f"address {', '.join(end.addresses)} and " if end.addresses else ""
        return f"{_whose(end)} may have left {held}what else it was given: {self._said[end.key]}"


def _whose(end: Endpoint) -> str:
    return f"container {end.name or end.container[:12]} on network {end.network}"
