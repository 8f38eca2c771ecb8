"""The load's way to the daemon: the command line's own session, with every request recorded.

Counts the final answers of each request on the wire: a second one is a violation that no client would see,
since late answers are dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from chaos.findings import Findings
from cli.session import RefusedError, Session
from transport.client import Client, Message, NotRunningError
from transport.codec import unpack

NAMESPACE = "c"  # short, so that the name of a puller's process shows which one it is
PERSIST = 60.0  # seconds in which whatever was broken must be well again
PATIENCE = 12.0  # seconds for one answer: one that was dropped does not hold the load up for longer
PAUSE = 0.05
ONCE = "each request is answered once"
ENDS = "each request ends"
Result = TypeVar("Result")


class CountingClient(Client):
    """Sees every final answer before the client picks its own."""

    def __init__(self, path: str, findings: Findings) -> None:
        self._findings = findings
        self._ended: set[bytes] = set()
        super().__init__(path)

    def _receive_frames(self, until: float | None) -> list[bytes]:
        frames = super()._receive_frames(until)
        header = unpack(frames[1])
        if header.get("t") in ("FIN", "ERR") and "re" in header:
            asked = header["re"]
            text = f"a second final answer from {header.get('fr')}"
            self._findings.check(ONCE, asked not in self._ended, text)
            self._ended.add(asked)
        return frames


class RecordingSession(Session):
    """A session that notes how each request ended, and whether it still waits."""

    def __init__(self, address: Path, findings: Findings) -> None:
        super().__init__(str(address), NAMESPACE)
        self._findings = findings
        self._counting: CountingClient | None = None
        self.waiting: tuple[str, float] | None = None

    @property
    def client(self) -> Client:
        """The connection, which counts."""
        if self._counting is None:
            self._counting = CountingClient(self.address, self._findings)
        return self._counting

    def another(self) -> RecordingSession:
        """The same with a connection of its own."""
        return RecordingSession(Path(self.address), self._findings)

    def close(self) -> None:
        """Close the connection."""
        if self._counting is not None:
            self._counting.close()
            self._counting = None

    def _request(
        self,
        to: str,
        op: str,
        body: dict[str, Any],
        limit: float,
        *,
        repeatable: bool,
        buffers: tuple[bytes, ...] = (),
    ) -> dict[str, Any]:
        self.waiting = (f"{op} to {to}", time.monotonic())
        most = min(limit, PATIENCE)
        try:
            result = super()._request(to, op, body, most, repeatable=repeatable, buffers=buffers)
        except RefusedError as error:
            self._findings.request(op, "unknown" if error.error.outcome == "unknown" else "error")
            raise
        except NotRunningError:
            self.close()
            self._findings.request(op, "unknown")
            raise
        finally:
            self.waiting = None
        self._findings.request(op, "done")
        return result

    def stream(
        self,
        to: str,
        op: str,
        body: dict[str, Any],
        *,
        credit: int,
        resume: Callable[[], dict[str, Any]] | None = None,
        patience: float = 30.0,
    ) -> Iterator[Message]:
        """As the session's; only a follower of events may wait without end."""
        try:
            for message in super().stream(to, op, body, credit=credit, resume=resume, patience=patience):
                self.waiting = (f"{op} to {to}", time.monotonic())
                if message.kind == "final":
                    self._findings.request(op, "done")
                yield message
        except NotRunningError:
            self.close()
            self._findings.request(op, "unknown")
            raise
        except RefusedError as error:
            self._findings.request(op, "unknown" if error.error.outcome == "unknown" else "error")
            raise
        finally:
            self.waiting = None


def persist(act: Callable[[], Result], stop: threading.Event | None = None) -> Result:
    """Do it again while the daemon is down or an actor is on its way back.

    Raises:
        RefusedError: an error that waiting does not mend, or it did not in PERSIST seconds.
        NotRunningError: the daemon has not come back.
    """
    until = time.monotonic() + PERSIST
    while True:
        try:
            return act()
        except RefusedError as error:
            lasting = not error.error.retryable and error.code != "deadline_exceeded"
            if lasting or time.monotonic() > until or (stop and stop.is_set()):
                raise
        except NotRunningError:
            if time.monotonic() > until or (stop and stop.is_set()):
                raise
        time.sleep(PAUSE)
