"""Starting a small program from a process that has threads.

posix_spawn runs nothing of ours between fork and exec, and does not copy the page tables of a Python
process: about a millisecond whatever the parent's size.
"""

import contextlib
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence

from actors.linux.descriptors import close_all

# The interpreter ignores SIGPIPE (and more), and ignored signals outlive exec: a container must not inherit
# that. SIGKILL and SIGSTOP cannot be set, so naming them would make the whole call fail.
_RESET = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def spawn(
    argv: Sequence[str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    inherit: Mapping[int, int] | None = None,
    program: int | None = None,
    new_session: bool = False,
) -> int:
    """Start a program, found through PATH, and give its pid; the caller waits for it.

    It gets the three standard descriptors (None: /dev/null), and of `inherit` each value (a descriptor of
    ours) under its key (the number it has there); nothing else that is close-on-exec. Its signal mask is
    empty and its dispositions are the defaults. `env` None: ours. `program`: a descriptor of what is executed
    in place of what `argv` names, unless that is forbidden.

    Raises:
        OSError: the program is missing or not executable, or a descriptor is not open.
    """
    wanted = {**(inherit or {})}
    wanted.update({n: fd for n, fd in enumerate((stdin, stdout, stderr)) if fd is not None})
    null = [n for n in range(3) if n not in wanted]
    lowest = max([2, *wanted, *wanted.values()]) + 1
    with contextlib.ExitStack() as stack:
        lifted = {n: _lift(fd, lowest, stack) for n, fd in wanted.items()}
        actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
            *((os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_RDWR, 0) for n in null),
            *((os.POSIX_SPAWN_DUP2, source, n) for n, source in lifted.items()),
        ]

        def begin(path: str) -> int:
            return os.posix_spawnp(
                path,
                list(argv),
                os.environ if env is None else env,
                file_actions=actions,
                setsid=new_session,
                setsigmask=(),
                setsigdef=_RESET,
            )

        if program is not None:
            with contextlib.suppress(PermissionError):
                return begin(f"/proc/self/fd/{_lift(program, lowest, stack)}")
        return begin(argv[0])


def _lift(descriptor: int, lowest: int, stack: contextlib.ExitStack) -> int:
    """A duplicate above every number in play, so that no dup2 overwrites what is still needed."""
    lifted = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    stack.callback(close_all, [lifted])
    return lifted
