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
    new_session: bool = False,
) -> int:
    """Start a program, found through PATH, and give its pid; the caller waits for it.

    It gets the three standard descriptors (None: /dev/null), and of `inherit` each value (a descriptor of
    ours) under its key (the number it has there); nothing else that is close-on-exec. Its signal mask is
    empty and its dispositions are the defaults. `env` None: ours.

    Raises:
        OSError: the program is missing or not executable, or a descriptor is not open.
    """
    wanted = {**(inherit or {})}
    wanted.update({n: fd for n, fd in enumerate((stdin, stdout, stderr)) if fd is not None})
    null = [n for n in range(3) if n not in wanted]
    with contextlib.ExitStack() as stack:
        lifted = _lift(wanted, stack)
        actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
            *((os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_RDWR, 0) for n in null),
            *((os.POSIX_SPAWN_DUP2, source, n) for n, source in lifted.items()),
        ]
        return os.posix_spawnp(
            argv[0],
            list(argv),
            os.environ if env is None else env,
            file_actions=actions,
            setsid=new_session,
            setsigmask=(),
            setsigdef=_RESET,
        )


def _lift(wanted: Mapping[int, int], stack: contextlib.ExitStack) -> dict[int, int]:
    """Duplicates above every number in play, so that no dup2 overwrites the source of a later one."""
    lowest = max([2, *wanted, *wanted.values()]) + 1
    lifted: dict[int, int] = {}
    for number, descriptor in wanted.items():
        lifted[number] = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
        stack.callback(close_all, [lifted[number]])
    return lifted
