"""What goes between a process and the FIFOs that its client brings: of a terminal, and of standard error.

A terminal's master is ours to read and write. Standard error goes through a FIFO of ours, since the runtime
writes to it what kept it from starting a program, which is for whoever asked for that, and not the program's
output. The zygote keeps the master and that FIFO, and the client's have names: the next incarnation goes on.
Used in the pump's thread, but for what says otherwise.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors import failpoints
from actors.call import Call
from actors.channels import give_size
from actors.linux import descriptors
from actors.linux import terminal as window
from actors.runtime import console
from actors.runtime.console import ConsoleSocket
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

ONE_MOVE: Final = 1 << 16  # bytes from one side before others have their turn
DRAIN: Final = 10.0  # seconds that the client of a process that has ended may take for what is left
TERMINAL: Final = "/terminal"
_WAKERS: Final = "/wakers"
LOOK_AGAIN: Final = 0.1  # seconds until a side that takes or gives nothing is looked at again


@dataclass(slots=True)
class _Line:
    """One of ours, and the client's that it is joined to; -1 for what is not there."""

    source: int
    output: int = -1
    input: int = -1
    begun: bool = False  # whether it is watched
    stuck: int = 0  # how many of its sides take or give nothing now

    def descriptors(self) -> list[int]:
        return [one for one in (self.source, self.output, self.input) if one >= 0]


class Lines:
    """Of one container: of its first process under the empty name, of its execs under theirs."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._known: dict[str, _Line] = {}  # by the key under which the zygote keeps it too

    # In a worker thread, before a process starts

    def hold(self, name: str, ends: Sequence[int]) -> None:
        """Have the zygote keep a client's FIFOs open too: when nobody does, that is the end to the client.

        Of a terminal until all of it has been shown; else until its process has them.
        """
        self._actor.host.say(ends, op="keep", key=_client(name))

    def let_go(self, name: str) -> None:
        """Of these, once more is fine."""
        self._actor.host.say(op="drop", key=_client(name))

    @contextlib.contextmanager
    def opened(self, name: str, directory: Path, io: Sequence[str]) -> Iterator[Path]:
        """Where a runtime hands a terminal over; afterwards it has been taken.

        The zygote keeps the socket too: a terminal that was handed over is in it until somebody takes it.
        """
        ends = _client_ends(io)
        self.hold(name, ends)
        descriptors.close_all(ends)
        try:
            with self._console(name, directory) as path:
                yield path
        except BaseException:
            self.let_go(name)
            raise

    @contextlib.contextmanager
    def _console(self, name: str, directory: Path) -> Iterator[Path]:
        socket, say = ConsoleSocket(directory), self._actor.host.say
        say([socket.listener], op="keep", key=_console(name))
        try:
            yield socket.path
            failpoints.hit("container", "terminal", "handed_over")
            self._keep(_key(name, terminal=True), _Line(socket.take()))
        finally:
            say(op="drop", key=_console(name))
            socket.close()

    @contextlib.contextmanager
    def errors(self, name: str, output: int) -> Iterator[int]:
        """A process's standard error, which goes on to `output`, a FIFO of its client, once `follow` says so.

        Nothing of it goes there when the block fails: what was written then is the runtime's.
        """
        path = self._fifo(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        end = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            source = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._keep(_key(name, terminal=False), _Line(source, os.dup(output)))
            yield end
        except BaseException:
            path.unlink(missing_ok=True)  # a child of the runtime may have it open for a moment yet
            self._close(_key(name, terminal=False))
            raise
        finally:
            os.close(end)

    def _fifo(self, name: str) -> Path:
        return self._actor.streams.pipes(name) / "errors"

    def _keep(self, key: str, line: _Line) -> None:
        """A terminal's master; or what standard error comes from, and where it goes."""
        self._known[key] = line
        kept = [line.source] if key.endswith(TERMINAL) else line.descriptors()
        self._actor.host.say(kept, op="keep", key=key)

    # In the actor's thread

    def is_idle(self) -> bool:
        """Whether nothing waits for a client that does not take it, or for a terminal."""
        return not any(line.stuck for line in list(self._known.values()))

    def wakers(self) -> list[str]:
        """The keys of what tells that there is something to move."""
        known = list(self._known.values())
        found = [one for line in known for one in (line.source, line.input) if one >= 0]
        if found:
            self._actor.host.say(found, op="keep", key=_WAKERS)
        return [_WAKERS] if found else []

    # In any thread

    def keep_all(self) -> None:
        """Another zygote: it has not got any of them."""

        def keep() -> None:
            for key, line in self._known.items():
                self._keep(key, line)
                if key.endswith(TERMINAL):
                    ends = [one for one in (line.input, line.output) if one >= 0]
                    self.hold(key.removesuffix(TERMINAL), ends)

        self._actor.host.pump.call(keep)

    def follow(self, name: str, io: Sequence[str], *, terminal: bool) -> None:
        """Begin to move between what is ours and the FIFOs of `io`, also after a crash."""
        if not terminal:
            self.let_go(name)
        self._with_line(name, io, lambda: None, terminal=terminal)

    def drain(self, name: str, io: Sequence[str], then: Callable[[], None], *, terminal: bool) -> None:
        """Move what is left, for as long as its client may take it; `then` in the actor's thread.

        Whoever had it before us may have died over it: what the zygote keeps of it is let go of in any case,
        since a client waits for the end of its FIFOs.
        """
        key, until = _key(name, terminal=terminal), time.monotonic() + DRAIN

        def last() -> None:
            if self._empty(key) and time.monotonic() < until:
                self._actor.host.pump.call_later(LOOK_AGAIN, last)
                return
            self._close(key)
            self.let_go(name)
            self._actor.host.say(op="drop", key=_WAKERS)
            self._actor.soon(then)

        self._with_line(name, io, last, terminal=terminal)

    def _with_line(self, name: str, io: Sequence[str], then: Callable[[], None], *, terminal: bool) -> None:
        """Have the line of a process known and open, if it has one; `then` in the pump's thread."""
        key = _key(name, terminal=terminal)

        def known() -> None:
            if terminal:
                self._join(key, io[0], io[1])
            elif is_fifo(io[2]):
                self._go_on(key, name, io[2])
            then()

        self._when_known(name, known, terminal=terminal)

    def resize(self, name: str, size: tuple[int, int], call: Call) -> None:
        """Tell a terminal its size. One that its client has seen start has one, be its actor new or not."""

        def tell() -> None:
            line = self._known.get(_key(name, terminal=True))
            give_size(-1 if line is None else line.source, size, call)

        self._when_known(name, tell, terminal=True)

    def _when_known(self, name: str, then: Callable[[], None], *, terminal: bool) -> None:
        """Have what the zygote keeps for a process, if it has a line; `then` in the pump's thread."""
        key, fetch = _key(name, terminal=terminal), self._actor.host.lifeline.fetch

        def begin() -> None:
            if key in self._known:
                then()
            else:
                fetch(key, fetched)

        def fetched(found: list[int]) -> None:
            if terminal and not found:
                fetch(_console(name), late)
            else:
                self._adopt(key, found)
                then()

        def late(found: list[int]) -> None:
            self._take_late(key, name, found)
            then()

        self._actor.host.pump.call(begin)

    # In the pump's thread

    def _adopt(self, key: str, found: list[int]) -> None:
        """In the order of `_keep`; two may have asked at once."""
        if not found or key in self._known:
            descriptors.close_all(found)
        else:
            self._keep(key, _Line(*found[:2]))  # type: ignore[arg-type]  # two are two of its numbers

    def _take_late(self, key: str, name: str, found: list[int]) -> None:
        """The last incarnation died between the runtime and the terminal: it waits in the socket."""
        if not found or key in self._known:
            descriptors.close_all(found)
            return
        try:
            self._keep(key, _Line(console.take_kept(found[0])))
        except (OSError, EOFError, ValueError) as error:
            self._actor.log.warning("the terminal of %s is lost: %s", name or "its first process", error)
        self._actor.host.say(op="drop", key=_console(name))

    def _join(self, key: str, given: str, taken: str) -> None:
        """A terminal, both ways. None: nobody has kept it, every process of ours was killed."""
        line = self._known.get(key)
        if line is None or line.begun:
            return
        line.begun = True
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(OSError):  # its client has removed it
            line.output = os.open(taken, flags) if taken else -1
            line.input = os.open(given, flags) if given else -1
        if line.output >= 0:
            self._watch(key, line.source, partial(_moved, line.source, line.output))
        if line.input >= 0:
            self._watch(key, line.input, partial(_moved, line.input, line.source))

    def _go_on(self, key: str, name: str, taken: str) -> None:
        """Standard error, one way. After the death of all of us, what was in our FIFO is in it still."""
        if key not in self._known:
            with contextlib.suppress(FileNotFoundError):  # it was not started through us
                source = os.open(self._fifo(name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._keep(key, _Line(source, _fifo_or_nothing(taken)))
        line = self._known.get(key)
        if line is not None and not line.begun:
            line.begun = True
            self._watch(key, line.source, partial(_moved, line.source, line.output))

    def _watch(self, key: str, source: int, move: Callable[[], int]) -> None:
        pump = self._actor.host.pump
        line = self._known[key]

        def readable() -> None:
            if move():
                self._actor.sleep.stir()
                return
            line.stuck += 1
            pump.unwatch(source)
            pump.call_later(LOOK_AGAIN, again)

        def again() -> None:
            line.stuck -= 1
            if self._known.get(key) is line:
                pump.watch(source, readable)

        line.stuck += 1
        again()

    def _empty(self, key: str) -> bool:
        """Move what the client takes; whether there is more."""
        line = self._known.get(key)
        if line is None or line.output < 0:
            return False
        while _moved(line.source, line.output):
            pass
        return _waiting(line.source)

    def _close(self, key: str) -> None:
        def close() -> None:
            line = self._known.pop(key, None)
            if line is not None:
                for number in line.descriptors():
                    self._actor.host.pump.unwatch(number)
                descriptors.close_all(line.descriptors())
            self._actor.host.say(op="drop", key=key)

        self._actor.host.pump.call(close)


def is_fifo(said: str) -> bool:
    """Whether what a client names is a FIFO, by its path; others have a scheme."""
    return bool(said) and "://" not in said


def refuse_no_name(*said: str) -> None:
    """Raise RemoteError for what no file can be called: to open it is a mistake of ours, not an error."""
    for one in said:
        if "\0" in one:
            raise RemoteError("invalid_argument", f"{one[:256]!r} is no name of a file")


def _key(name: str, *, terminal: bool) -> str:
    return f"{name}{TERMINAL}" if terminal else f"{name}/errors"


def _console(name: str) -> str:
    return f"{name}/console"


def _client(name: str) -> str:
    return f"{name}/client"


def _client_ends(io: Sequence[str]) -> list[int]:
    """Of a terminal's client, both; what it has removed is not there."""
    found = []
    for path in io[:2]:
        with contextlib.suppress(OSError):
            found += [os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)] if path else []
    return found


def _fifo_or_nothing(path: str) -> int:
    """A client's FIFO; /dev/null when it has removed that, since the process is not to wait for it."""
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except OSError:
        return os.open(os.devnull, flags)


def _waiting(source: int) -> bool:
    try:
        return window.waiting(source) > 0
    except OSError:  # a terminal that nobody has open any more
        return False


def _moved(source: int, target: int) -> int:
    """Bytes moved; 0 when there is nothing to take, no room, or nobody at the other end."""
    try:
        return os.splice(source, target, ONE_MOVE)
    except OSError:
        return 0
