"""Terminals of processes whose clients bring FIFOs: what goes between the master and those.

The zygote keeps the master, and FIFOs have names: the next incarnation goes on. Used in the pump's thread,
but for what says otherwise.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.linux import descriptors
from actors.linux import terminal as window
from actors.runtime.console import ConsoleSocket
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

ONE_MOVE: Final = 1 << 16  # bytes from one side before others have their turn
LOOK_AGAIN: Final = 0.1  # seconds until a side that takes or gives nothing is looked at again


@dataclass(slots=True)
class _Line:
    """-1 for what is not there."""

    master: int
    output: int = -1
    input: int = -1

    def descriptors(self) -> list[int]:
        return [one for one in (self.master, self.output, self.input) if one >= 0]


class Lines:
    """Of one container: of its first process under the empty name, of its execs under theirs."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._known: dict[str, _Line] = {}

    @contextlib.contextmanager
    def opened(self, name: str, directory: Path) -> Iterator[Path]:
        """Where a runtime hands a terminal over; afterwards it has been taken. In a worker thread."""
        console = ConsoleSocket(directory)
        try:
            yield console.path
            master = console.take()
            self._known[name] = _Line(master)
            self._actor.host.say([master], op="keep", key=f"{name}/terminal")
        finally:
            console.close()

    def follow(self, name: str, given: str, taken: str) -> None:
        """Begin to move between the terminal and the FIFOs. In any thread."""

        def fetched(found: list[int]) -> None:
            if found:
                self._known[name] = _Line(found[0])
                descriptors.close_all(found[1:])
                self._begin(name, given, taken)

        def begin() -> None:
            if name in self._known:
                self._begin(name, given, taken)
            else:
                self._actor.host.lifeline.fetch(f"{name}/terminal", fetched)

        self._actor.host.pump.call(begin)

    def _begin(self, name: str, given: str, taken: str) -> None:
        line = self._known[name]
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(OSError):  # its client has removed it
            line.output = os.open(taken, flags) if taken else -1
            line.input = os.open(given, flags) if given else -1
        if line.output >= 0:
            self._watch(name, line.master, partial(_moved, line.master, line.output))
        if line.input >= 0:
            self._watch(name, line.input, partial(_moved, line.input, line.master))

    def _watch(self, name: str, source: int, move: Callable[[], int]) -> None:
        pump = self._actor.host.pump
        line = self._known[name]

        def readable() -> None:
            if not move():
                pump.unwatch(source)
                pump.call_later(LOOK_AGAIN, again)

        def again() -> None:
            if self._known.get(name) is line:
                pump.watch(source, readable)

        again()

    def drain(self, name: str, then: Callable[[], None]) -> None:
        """Move what is left, as far as its client takes it; `then` in the actor's thread. In any thread."""

        def last() -> None:
            line = self._known.pop(name, None)
            if line is not None:
                while line.output >= 0 and _moved(line.master, line.output):
                    pass
                for number in line.descriptors():
                    self._actor.host.pump.unwatch(number)
                descriptors.close_all(line.descriptors())
                self._actor.host.say(op="drop", key=f"{name}/terminal")
            self._actor.soon(then)

        self._actor.host.pump.call(last)

    def resize(self, name: str, rows: int, columns: int) -> None:
        """Tell a terminal its size. In any thread. Raises RemoteError."""
        line = self._known.get(name)
        if line is None:
            raise RemoteError("failed_precondition", "the process has no terminal, or has ended")
        window.set_window_size(line.master, rows, columns)


def _moved(source: int, target: int) -> int:
    """Bytes moved; 0 when there is nothing to take, no room, or nobody at the other end."""
    try:
        return os.splice(source, target, ONE_MOVE)
    except OSError:
        return 0
