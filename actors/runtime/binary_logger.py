"""A logger that is somebody else's program, as containerd has it (its runtime/v2 README, "Logging").

It gets standard output of a container as descriptor 3, standard error as 4, and says that it is ready by
closing or writing 5. It ends when both have come to their end. CONTAINER_ID and CONTAINER_NAMESPACE are in
its environment, its arguments are those of the query of its address: `binary:///path/of/it?key=value`.

It reads from FIFOs, of which we (and the zygote) have an end as well: when it dies, what it has not read
waits for the next one. A lock that it inherits says whether one lives, whoever started it.
"""

import contextlib
import fcntl
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from actors.linux import descriptors, terminal
from actors.linux.pidfd import Process
from actors.linux.spawn import spawn
from actors.runtime.errors import InvalidSpecError

SCHEME: Final = "binary://"
READY_LIMIT = 10.0  # seconds until one that has not said that it is ready is taken to be
_MOST_ARGUMENTS = 256
_STREAMS: Final = {1: "stdout", 2: "stderr"}
_LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Program:
    """What to run."""

    path: str
    arguments: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse one that cannot be run. Raises InvalidSpecError."""
        if not os.access(self.path, os.X_OK) or not Path(self.path).is_file():
            raise InvalidSpecError(f"logger {self.path} is not a program that can be run: install it first")


def parse(address: str) -> Program:
    """Of `binary:///path?key=value&flag`: keys and values become arguments, in their order.

    Raises:
        InvalidSpecError: it is not of that form.
    """
    try:
        return _parsed(address)
    except ValueError as error:
        text = f"logger {address[:256]!r} is not of the form {SCHEME}/path/of/program?key=value"
        raise InvalidSpecError(text) from error


def _parsed(address: str) -> Program:
    """Raises ValueError, as its parts do: for too many arguments, say."""
    parts = urlsplit(address)
    pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=_MOST_ARGUMENTS)
    words = [unquote(parts.path), *(word for key, value in pairs for word in (key, value) if word)]
    if parts.scheme != "binary" or parts.netloc or not parts.path.startswith("/"):
        raise ValueError(address)
    if any("\0" in word for word in (address, *words)):  # which may be written as %00
        raise ValueError(address)
    return Program(words[0], tuple(words[1:]))


class BinaryLogger:
    """One, with its FIFOs. Used by one thread at a time."""

    def __init__(self, program: Program, directory: Path, container: str, namespace: str) -> None:
        """Make what is missing in the directory. Nothing is started yet."""
        self._program = program
        self._directory = directory
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "CONTAINER_ID": container,
            "CONTAINER_NAMESPACE": namespace,
        }
        self._own: Process | None = None  # one that we have started
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _STREAMS.values():
            with contextlib.suppress(FileExistsError):
                os.mkfifo(directory / name, 0o600)
        self.ends = {
            stream: os.open(directory / name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            for stream, name in _STREAMS.items()
        }

    def is_running(self) -> bool:
        """Whether one lives, also one that an earlier incarnation of ours has started."""
        if self._own is not None:
            return self._own.is_running()
        with self._lock() as lock:
            return lock is None

    def start(self) -> bool:
        """Start it unless it runs, and wait until it says that it is ready, or has ended; whether it did.

        Raises:
            OSError: it cannot be run.
        """
        if self._own is not None and self._own.is_running():
            return False
        self._own = None
        with self._lock() as lock, contextlib.ExitStack() as stack:
            if lock is None:  # some process of the last one lives on
                return False
            numbers = {stream + 2: self._reading(name, stack) for stream, name in _STREAMS.items()}
            ready, said = os.pipe2(os.O_CLOEXEC)
            stack.callback(os.close, ready)
            try:
                pid = spawn(
                    [self._program.path, *self._program.arguments],
                    env=self._environment,
                    inherit={**numbers, 5: said, 6: lock},
                    new_session=True,
                )
            finally:
                os.close(said)
            with contextlib.suppress(ProcessLookupError):  # it has ended
                self._own = Process.of(pid)
            descriptors.is_ready(ready, select.POLLIN, READY_LIMIT)
        return True

    def _reading(self, name: str, stack: contextlib.ExitStack) -> int:
        found = os.open(self._directory / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, found)
        os.set_blocking(found, True)
        return found

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int | None]:
        """The lock, to be inherited by the next one; None while one has it."""
        lock = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield lock
        except BlockingIOError:
            yield None
        finally:
            os.close(lock)

    def end(self) -> None:
        """Let it come to the end of both: from here on we can only read what it leaves."""
        for stream, name in _STREAMS.items():
            reading = os.open(self._directory / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.close(self.ends[stream])
            self.ends[stream] = reading

    def unread(self) -> int:
        """Bytes that it has not taken yet."""
        return sum(terminal.waiting(end) for end in self.ends.values())

    def close(self) -> None:
        """Close our ends; the FIFOs stay."""
        descriptors.close_all(self.ends.values())
