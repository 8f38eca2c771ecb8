"""Who answers, and when: a steady prober for each actor, and a watch on each that has to come back."""

from __future__ import annotations

import os
import select
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from chaos.findings import Findings, Outage, Struck
from transport.client import Client, NotRunningError
from transport.errors import ProtocolError, RemoteError

if TYPE_CHECKING:
    from pathlib import Path

PINGS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "router": ("router.ping", {}),
    "supervisor": ("introspection.version", {}),
    "metadata": ("namespaces.list", {}),
    "content": ("content.info", {"digest": "sha256:" + "0" * 64}),
    "snapshots": ("snapshots.stat", {"namespace": "c", "key": "nothing"}),
    "events": (
        "events.publish",
        {"namespace": "c", "topic": "/chaos/ping", "key": "ping", "body": {}, "at": 1},
    ),
    "network": ("network.detach", {"namespace": "c", "id": "nothing"}),
    "bundles": ("bundles.make", {}),
    "collector": ("collector.note", {}),
    "nodes": ("nodes.list", {}),
    "metrics": ("metrics.address", {}),
}
"""What an actor is asked: an answer, be it an error, is a sign of life and changes nothing."""
ANYBODY: Final[tuple[str, dict[str, Any]]] = ("failpoints.list", {})
"""What every other one is asked, but a container's."""
EVERY: Final = 0.5  # seconds between two probes
DEADLINE: Final = 2.0  # seconds for an answer
BACK_LIMIT: Final = 20.0  # seconds after which nobody waits for an actor any more


class GoneError(Exception):
    """There is no such actor, and none is expected."""


def answers(client: Client, actor: str, limit: float) -> bool:
    """Whether the actor itself answers in time. Raises GoneError, NotRunningError, ProtocolError."""
    known = ("tasks.state", {}) if actor.startswith("container/") else ANYBODY
    op, body = PINGS.get(actor, known)
    try:
        client.request(op, body, to=actor, limit=limit, repeatable=True)
    except RemoteError as error:
        if str(error).startswith("no actor is named"):
            raise GoneError(actor) from error
        return error.outcome == "done" or error.code in ("invalid_argument", "not_found")
    return True


class Prober(threading.Thread):
    """Asks one actor again and again, and notes the times in which it did not answer."""

    def __init__(self, socket: Path, findings: Findings, actor: str, stop: threading.Event) -> None:
        super().__init__(name=f"probe-{actor}", daemon=True)
        self._socket, self._findings, self._actor, self._stopped = socket, findings, actor, stop

    def run(self) -> None:
        """Until told to stop."""
        client: Client | None = None
        silent = 0.0
        while not self._stopped.wait(EVERY):
            began = self._findings.now()
            try:
                client = client or Client(str(self._socket))
                answered = answers(client, self._actor, DEADLINE)
            except (GoneError, NotRunningError, ProtocolError):
                client, answered = None, False
            if not answered:
                silent = silent or began
                continue
            if not silent and self._findings.now() - began > 2 * EVERY:  # slow, but it came
                silent = began
            if silent:
                self._findings.outages.append(Outage(self._actor, silent, self._findings.now()))
            silent = 0.0
        if silent:  # to the end
            self._findings.outages.append(Outage(self._actor, silent, self._findings.now()))
        if client is not None:
            client.close()


class Recovery(threading.Thread):
    """Waits for the new incarnation of an actor whose process has just died, and notes how long that took."""

    def __init__(self, socket: Path, findings: Findings, struck: Struck, pidfd: int = -1) -> None:
        """`pidfd`, which is closed here, is that of the process that is to die first."""
        super().__init__(name=f"recovery-{struck.actor}", daemon=True)
        self._socket, self._findings, self._struck, self._pidfd = socket, findings, struck, pidfd
        self._began = time.monotonic()

    def run(self) -> None:
        """Ask until it answers, it is gone for good, or the time is over."""
        if self._pidfd >= 0:
            _wait_dead(self._pidfd)
        while time.monotonic() - self._began < BACK_LIMIT:
            try:
                client = Client(str(self._socket))
            except (NotRunningError, ProtocolError):
                continue
            try:
                if answers(client, self._struck.actor, 5.0):
                    self._struck.recovered = time.monotonic() - self._began
                    return
            except GoneError:
                return
            except (NotRunningError, ProtocolError):
                time.sleep(0.01)
            finally:
                client.close()


def _wait_dead(pidfd: int) -> None:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.poll(int(BACK_LIMIT * 1000))
    os.close(pidfd)
