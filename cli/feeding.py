"""Our standard input, in a thread beside the output: each piece is sent until it was taken, once."""

from __future__ import annotations

import os
import signal
import threading
import time

from cli.complaint import complain
from cli.forwarding import DetachedError
from cli.session import RefusedError
from transport.client import NotRunningError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any

    from cli.session import Session
    from cli.terminal import Keys

PIECE = 1 << 16
LIMIT = 3600.0  # seconds for one piece: as long as the process does not read, nothing is wrong
AGAIN = 0.2  # seconds
DETACH = signal.SIGURG  # sent by the thread to the main one, which waits for output


class Feeding:
    """While it is entered, standard input goes to the process; the keys that detach raise DetachedError."""

    def __init__(self, session: Session, actor: str, exec_id: str, keys: Keys | None) -> None:
        self._session = session.another()
        self._actor = actor
        self._exec_id = exec_id
        self._keys = keys
        self._writer = os.urandom(8).hex()
        self._offset = 0
        self._before: Any = None

    def __enter__(self) -> None:
        """Begin."""
        self._before = signal.signal(DETACH, _detach)
        threading.Thread(target=self._run, daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The thread may still wait for a key; it ends with us."""
        signal.signal(DETACH, self._before)

    def _run(self) -> None:
        try:
            self._copy()
        except RefusedError as error:
            if error.code not in ("failed_precondition", "not_found"):  # it has ended, or closed its input
                complain(f"input stops here: {error}")
        except OSError as error:
            complain(f"input stops here: {error.strerror}")

    def _copy(self) -> None:
        while content := os.read(0, PIECE):
            leave = False
            if self._keys is not None:
                content, leave = self._keys.filter(content)
            if content:
                self._send(content)
            if leave:
                signal.pthread_kill(threading.main_thread().ident or 0, DETACH)
                return
        self._patiently("tasks.close_io", {"exec_id": self._exec_id}, b"")

    def _send(self, content: bytes) -> None:
        body = {"exec_id": self._exec_id, "writer": self._writer, "offset": self._offset}
        self._patiently("tasks.input", body, content)
        self._offset += len(content)

    def _patiently(self, op: str, body: dict[str, Any], content: bytes) -> None:
        """A container that only just comes, a daemon that only just restarts: it is sent again."""
        while True:
            try:
                self._session.send(self._actor, op, body, content, limit=LIMIT)
            except RefusedError as error:
                if error.code not in ("deadline_exceeded", "unavailable", "overloaded"):
                    raise
            except NotRunningError:
                pass
            else:
                return
            time.sleep(AGAIN)


def _detach(_number: int, _frame: FrameType | None) -> None:
    raise DetachedError(0)
