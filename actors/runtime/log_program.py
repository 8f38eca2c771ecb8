"""A program that takes the output of a container's processes: containerd's `binary://` loggers.

It reads standard output from its descriptor 3 and standard error from 4, both up to their end, and closes 5,
or writes to it, when it is ready; only then the process starts. Its arguments are the query of the address,
key and value in turn, and its environment says whose output it is. Our death does not end it, and nothing of
ours stands between it and the process.
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterator

from actors.linux import descriptors
from actors.linux.spawn import spawn
from actors.runtime.binary_logger import READY_LIMIT, parse
from actors.runtime.errors import InvalidSpecError

_OUT, _ERR, _READY = 3, 4, 5


@contextlib.contextmanager
def ends(address: str, namespace: str, container: str) -> Iterator[dict[int, int]]:
    """Descriptors of a process whose output it takes; they are closed afterwards.

    Raises:
        InvalidSpecError: it is not there, ends at once, or does not say that it is ready.
    """
    program = parse(address)
    command = [program.path, *program.arguments]
    opened: list[int] = []
    try:
        for _ in range(3):
            opened += os.pipe2(os.O_CLOEXEC)
        out, out_end, err, err_end, ready, ready_end = opened
        environment = {"CONTAINER_ID": container, "CONTAINER_NAMESPACE": namespace}
        pid = _spawned(command, environment, {_OUT: out, _ERR: err, _READY: ready_end})
        for number in (out, err, ready_end):
            os.close(number)
            opened.remove(number)
        _wait_until_ready(command[0], pid, ready)
        yield {1: out_end, 2: err_end}
    finally:
        descriptors.close_all(opened)


def _spawned(command: list[str], environment: dict[str, str], inherit: dict[int, int]) -> int:
    try:
        return spawn(command, env=environment, inherit=inherit, new_session=True)
    except OSError as error:
        text = f"logger {command[0][:256]!r} cannot be started: {error.strerror}"
        raise InvalidSpecError(text) from error


def _wait_until_ready(program: str, pid: int, ready: int) -> None:
    if not descriptors.is_ready(ready, select.POLLIN, READY_LIMIT):
        os.kill(pid, signal.SIGKILL)
        text = f"logger {program[:256]!r} did not close descriptor {_READY} within {READY_LIMIT:.0f} s"
        raise InvalidSpecError(text)
