"""What a process of a container gets as standard descriptors where it has none: a /dev/null that stays ours.

The host's node may not be handed over as it is. crun 1.8.1 gives the descriptors of an exec, and those of a
container with a user namespace, to the process's user, by fchown(2); and whoever is root in a container may
close to everybody, by fchmod(2), what an exec with either runtime has as standard input (all of this seen).
Only for a container's first process do the runtimes open the container's own node instead.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

from actors.linux import detached


@contextlib.contextmanager
def complete(ends: Mapping[int, int]) -> Iterator[dict[int, int]]:
    """All three descriptors."""
    with contextlib.ExitStack() as stack:
        missing = {0, 1, 2} - ends.keys()
        yield {**(_stand_ins(stack) if missing else {}), **ends}


def _stand_ins(stack: contextlib.ExitStack) -> dict[int, int]:
    try:
        null = detached.open_unchangeable(os.devnull)
    except OSError:  # before Linux 5.12
        return _without_null(stack)
    stack.callback(os.close, null)
    return dict.fromkeys(range(3), null)


def _without_null(stack: contextlib.ExitStack) -> dict[int, int]:
    """An end of input, and a file in memory for what nobody listens to."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.close(writing)
    stack.callback(os.close, reading)
    os.fchmod(reading, 0o666)  # so that it can be opened by its name
    silence = os.memfd_create("silence", os.MFD_CLOEXEC)
    stack.callback(os.close, silence)
    return {0: reading, 1: silence, 2: silence}
