"""Whoever reads what a command prints: with them gone, one that waits for more to print has no reason to."""

from __future__ import annotations

import _thread
import posix
import select
from stat import S_ISFIFO, S_ISSOCK

STDOUT = 1
FAILED = 1


def end_with_reader() -> None:
    """End the process as soon as nobody reads standard output any more, if that is a pipe or a socket.

    Otherwise `actr events | head -1` would be there until the next event. For commands that leave nothing
    half done: not even their connection is closed in order.
    """
    kind = posix.fstat(STDOUT).st_mode
    if S_ISFIFO(kind) or S_ISSOCK(kind):
        _thread.start_new_thread(_watch, ())


def _watch() -> None:
    poll = select.poll()
    poll.register(STDOUT, 0)  # errors and the other end's hanging up are told in any case
    poll.poll()
    posix._exit(FAILED)  # noqa: SLF001  # os._exit is no more public
