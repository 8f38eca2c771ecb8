"""Work on images that the daemon does in an actor of its own: started, watched, and what came of it.

Bytes go by descriptor: a file or pipe that is open here is named by our pid and its number, and the daemon
takes it from us. We stay until the work is done, as the descriptor goes with us.
"""

from __future__ import annotations

import fcntl
import os
import stat

from cli.progress import progress
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session
    from transport.errors import RemoteError

PATIENCE = 20.0  # seconds in which a job that dies again and again may get somewhere
STDIN, STDOUT = 0, 1


def lend(fd: int) -> dict[str, int]:
    """How the daemon finds a descriptor of ours, and knows that it is the right one."""
    status = os.fstat(fd)
    known = {"pid": os.getpid(), "fd": fd, "dev": status.st_dev, "ino": status.st_ino}
    if not stat.S_ISREG(status.st_mode):
        return known
    appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND  # then the position is that of the last write
    return {**known, "at": status.st_size if appends else os.lseek(fd, 0, os.SEEK_CUR)}


def do(session: Session, work: str, args: dict[str, Any], *, quiet: bool = False) -> dict[str, Any]:
    """Have the daemon do it; progress goes to standard error. Raises RefusedError."""
    shown = progress(quiet=quiet)
    done = False
    try:
        result = _do(session, work, args, shown)
        done = True
    finally:
        shown.close(done=done)
    return result


def _do(session: Session, work: str, args: dict[str, Any], shown: Any) -> dict[str, Any]:
    wish = {"namespace": session.namespace, "id": os.urandom(8).hex(), "work": work, "args": args}
    actor = str(session.ask("supervisor", "jobs.start", wish)["actor"])
    try:
        for message in session.stream(actor, "jobs.attach", {}, credit=1 << 20, patience=PATIENCE):
            if message.kind == "final":
                result: dict[str, Any] = message.body
                return result
            shown.part(message.body)
    except RefusedError as error:
        name = args.get("name") or args.get("image") or args.get("source_image") or ""
        reason = _unheard(work) if error.says_gone(actor) else error.error
        raise RefusedError(reason, error.op, {"name": name}) from error
    raise AssertionError("a stream ends with a final answer or an error")


def _unheard(work: str) -> RemoteError:
    """A job ends with the daemon. What it has read of a pipe cannot be read again, so we do not repeat it."""
    from transport.errors import RemoteError

    text = f"the daemon was stopped, or was too slow to say how {work} ended: look whether it is done"
    return RemoteError("unavailable", text, outcome="unknown")
