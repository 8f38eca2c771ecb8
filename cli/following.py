"""A process's output, from its actor to our own standard output and error, byte for byte.

Used by run, exec and logs. It counts how far each stream has come, so that the death of the actor, the
router or anything else costs neither a byte nor a repetition.
"""

from __future__ import annotations

import posix  # what `os` wraps: transport/bare.py
import select
import time

from cli.complaint import complain
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cli.session import Session

    Write = Callable[[int, int, bytes], None]  # stream, time in nanoseconds, bytes

CREDIT = 1 << 20  # bytes under way at once
STDOUT, STDERR = 1, 2
NAMES = {STDOUT: "stdout", STDERR: "stderr"}
STANDARD = {STDOUT: "output", STDERR: "error"}
UNKNOWN_EXIT = 255
BACK_WITHIN = 20.0  # seconds in which the actor of a container on record is there again, at load 40 too
LOOK_AGAIN = 0.1  # seconds


class Output:
    """The output of one process: of a container's first, or of an exec.

    Attributes:
        offsets: how many bytes of each stream have been written.
        on_cut: told the stream and how many bytes of it the log no longer has.
    """

    def __init__(self, session: Session, actor: str, exec_id: str = "", *, recent: int | None = None) -> None:
        """`recent`: only what comes from now on, with at most so many bytes of each stream before it."""
        self._recent = recent
        self._session = session
        self._actor = actor
        self._exec_id = exec_id
        self.offsets = {STDOUT: 0, STDERR: 0}
        self.on_cut: Callable[[int, int], None] = complain_of_cut

    def copy(self, write: Write, *, follow: bool) -> dict[str, Any]:
        """Give it all to `write`; returns the final answer. Raises RefusedError, OSError of `write`."""

        def body() -> dict[str, Any]:
            wish = {"stdout": self.offsets[STDOUT], "stderr": self.offsets[STDERR], "follow": follow}
            first = {} if self._recent is None else {"recent": self._recent}
            return {**wish, "exec_id": self._exec_id, **first}

        stream = self._session.stream(self._actor, "tasks.output", body(), credit=CREDIT, resume=body)
        for message in stream:
            if message.kind == "final":
                final: dict[str, Any] = message.body
                return final
            self._take(message.body, b"".join(message.buffers), write)
        raise AssertionError("a stream ends with a final answer or an error")

    def _take(self, part: dict[str, Any], content: bytes, write: Write) -> None:
        stream = STDERR if part.get("stream") == STDERR else STDOUT
        if "cut" in part:
            self.on_cut(stream, int(part["cut"]))
        self._recent = None  # from here on we know where we are
        known = self.offsets[stream] - int(part.get("offset", self.offsets[stream]))
        if known < 0:  # what lies between is not for us, or is there no more
            self.offsets[stream] -= known
        fresh = content[max(0, known) :]
        if fresh:
            write(stream, int(part.get("at", 0)), fresh)
            self.offsets[stream] += len(fresh)


def complain_of_cut(stream: int, count: int) -> None:
    """Mark where bytes are missing, beside the output."""
    complain(f"{count} bytes of {NAMES[stream]} are no longer in the log")


def write_through(stream: int, _at: int, content: bytes) -> None:
    """Write to our own descriptor of that number, all of it, past every buffer."""
    view = memoryview(content)
    while view:
        try:
            view = view[posix.write(stream, view) :]
        except BlockingIOError:  # somebody made the terminal or pipe non-blocking
            select.select([], [stream], [])


class OutputError(Exception):
    """Our own standard output or error takes nothing more: nobody reads it, or there is no room."""


def write_or_leave(stream: int, at: int, content: bytes) -> None:
    """As `write_through`, of a process that goes on without us. Raises OutputError."""
    try:
        write_through(stream, at, content)
    except OSError as error:
        raise OutputError(f"standard {STANDARD[stream]}: {(error.strerror or str(error)).lower()}") from error


def follow_container(session: Session, container: str, write: Write, output: Output) -> dict[str, Any]:
    """Copy the output of container `container` (its id) until it has exited; returns the exit's answer.

    One that removes itself may be gone before it could be asked: its exit is in the event journal then.

    Raises:
        RefusedError: it could not be started, or the way to it is blocked.
    """
    until = time.monotonic() + BACK_WITHIN
    while True:
        try:
            return output.copy(write, follow=True)
        except RefusedError as error:
            if error.code != "not_found":
                raise
            # While it is on record its end may not have been told.
            if not session.find_container(container, retired=True):
                return journalled_exit(session, container)
            if time.monotonic() > until:
                raise
        time.sleep(LOOK_AGAIN)


def journalled_exit(session: Session, container: str) -> dict[str, Any]:
    """The last exit of a container that is gone, as `tasks.wait` would give it.

    Raises:
        RefusedError: it has gone because it could not be started.
    """
    found = _last_event(session, container, "/tasks/exit")
    if found:
        return {"exit_code": found.get("exit_status"), "exited_at": found.get("exited_at", 0)}
    found = _last_event(session, container, "/containers/delete")
    if found.get("error"):
        from transport.errors import RemoteError

        details = {"exit_code": found.get("error_code")}
        error = RemoteError("failed_precondition", found["error"], outcome="done", details=details)
        raise RefusedError(error, "tasks.output", {})
    return {"exit_code": None}


def _last_event(session: Session, container: str, topic: str) -> dict[str, Any]:
    """Its body; empty for none. An exec's exit has the exec's id, and is not meant."""
    after = 0
    found: dict[str, Any] = {}

    def body() -> dict[str, Any]:
        wish = {"namespace": session.namespace, "container_id": container, "topic": topic}
        return {**wish, "after": after, "follow": False}

    for message in session.stream("events", "events.subscribe", body(), credit=1000, resume=body):
        if message.kind == "event":
            after = max(after, message.seq)
            event = message.body.get("body") or {}
            found = event if event.get("id") == container else found
    return found


def own_exit_code(answer: dict[str, Any], name: str) -> int:
    """The exit code to end with, for the answer of `tasks.wait`; an unknown one is said and becomes 255."""
    code = answer.get("exit_code")
    if isinstance(code, int):
        return code
    reason = answer.get("reason") or answer.get("error") or "nothing watched when it ended"
    complain(f"the exit code of {name} is unknown: {reason}")
    return UNKNOWN_EXIT
