"""Terminals and standard input of a container's processes: what goes in, and what has to be kept for it.

A terminal's master, and the pipes of standard input, are kept by the zygote too: the death of this process
neither hangs the terminal up nor ends the input; the next incarnation fetches them. Input is moved in the
pump's thread, a piece at a time, and a writer is answered when its piece has been taken: that is all the
credit it has, so one that writes faster than the process reads waits, and holds 64 KiB.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from actors.call import Call
from actors.linux import descriptors
from actors.linux import terminal as window
from actors.runtime import console
from actors.runtime.console import ConsoleSocket
from actors.runtime.input import JOURNAL, MOST, STAGE, Input, open_stdin
from actors.runtime.output import STDOUT, Output
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

MOST_WAITING = 64  # pieces of input of one process; more are answered `overloaded`
ONE_MOVE = 1 << 16  # bytes from a terminal before others have their turn
LOOK_AGAIN = 0.1  # seconds until a terminal that nobody has open is looked at again
Piece = Callable[[], bool]  # what to do with it; False: not yet


@dataclass(frozen=True, slots=True)
class Wants:
    """What a process was started with."""

    terminal: bool = False
    stdin: bool = False
    size: tuple[int, int] | None = None  # rows, columns


@dataclass(slots=True)
class Ends:
    """What the runtime is given besides output."""

    stdin: int | None = None
    console: ConsoleSocket | None = None

    @property
    def path(self) -> Path | None:
        """Where it is to hand the terminal over."""
        return self.console.path if self.console else None


@dataclass(slots=True)
class _Channel:
    """Of one process; -1 for a descriptor that it does not have."""

    master: int = -1
    target: int = -1  # where input goes: a FIFO's writing end, or the master once more
    input: Input | None = None
    pieces: "deque[Piece]" = field(default_factory=deque)

    def descriptors(self) -> list[int]:
        stage = self.input.stage if self.input else -1
        return [number for number in (self.master, self.target, stage) if number >= 0]


class Channels:
    """Of one container: of its first process under the empty name, of its execs under theirs."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._known: dict[str, _Channel] = {}
        self._fetching: dict[str, list[Callable[[], None]]] = {}  # who waits for what is fetched

    def is_idle(self) -> bool:
        """Whether all input that was taken is with its process."""
        known = list(self._known.values())
        return not any(one.pieces or (one.input is not None and not one.input.empty) for one in known)

    def wakers(self, name: str) -> list[str]:
        """The key of what is to wake us: a terminal has output before any FIFO of ours."""
        channel = self._known.get(name)
        return [f"{name}/channel"] if channel is not None and channel.master >= 0 else []

    # Starting

    @contextlib.contextmanager
    def opened(self, name: str, wants: Wants, pipes: Path) -> Iterator[Ends]:
        """What a process that is about to start needs; afterwards its terminal is taken. In any thread."""
        channel, ends = _Channel(), Ends()
        try:
            if wants.stdin:
                for left in (STAGE, JOURNAL):  # of an earlier run
                    (pipes / left).unlink(missing_ok=True)
                channel.input = Input(pipes)
            if wants.terminal:
                ends.console = ConsoleSocket(pipes)
                self._actor.host.say([ends.console.listener], op="keep", key=f"{name}/console")
            elif wants.stdin:  # whose end the process must not see, should we die once it runs
                ends.stdin, channel.target = open_stdin(pipes)
                self._keep(name, channel)
            yield ends
            if ends.console:
                self._has_terminal(channel, ends.console.take(), wants)
                self._keep(name, channel)
            self._known[name] = channel
        except BaseException:
            if channel.target >= 0:
                self._actor.host.say(op="drop", key=f"{name}/channel")
            self._close(channel)
            raise
        finally:
            if ends.console:
                self._actor.host.say(op="drop", key=f"{name}/console")
                ends.console.close()
            if ends.stdin is not None:
                os.close(ends.stdin)

    @staticmethod
    def _has_terminal(channel: _Channel, master: int, wants: Wants) -> None:
        channel.master = master
        if wants.size is not None:
            window.set_window_size(master, *wants.size)
        if wants.stdin:
            channel.target = os.dup(master)

    def _keep(self, name: str, channel: _Channel) -> None:
        self._actor.host.say(channel.descriptors(), op="keep", key=f"{name}/channel")

    def keep_all(self) -> None:
        """Another zygote: it has not got any of them."""
        for name, channel in list(self._known.items()):
            self._keep(name, channel)

    def follow(self, name: str, wants: Wants, output: Output, copy: Callable[[], None]) -> None:
        """Begin to move; what an earlier incarnation had is fetched first. `copy` moves on what has come."""

        def begin() -> None:
            channel = self._known.get(name)
            if channel is not None and channel.master >= 0:
                self._watch_master(channel, output, copy)
            self._move(name)

        self._actor.host.pump.call(lambda: self.when_known(name, wants, begin))

    def when_known(self, name: str, wants: Wants, then: Callable[[], None]) -> None:
        """Call `then` when we have what an earlier incarnation had of it. In the pump's thread."""
        if name in self._known or not (wants.terminal or wants.stdin):
            then()
            return
        self._fetching.setdefault(name, []).append(then)
        if len(self._fetching[name]) == 1:
            fetch = self._actor.host.lifeline.fetch
            fetch(f"{name}/channel", partial(self._fetched, name, wants))

    def _fetched(self, name: str, wants: Wants, found: list[int]) -> None:
        if not found and wants.terminal:
            self._actor.host.lifeline.fetch(f"{name}/console", partial(self._fetched_late, name, wants))
            return
        if name in self._known:  # it has been started meanwhile
            descriptors.close_all(found)
        else:
            self._adopt(name, wants, found)
        self._is_known(name)

    def _fetched_late(self, name: str, wants: Wants, found: list[int]) -> None:
        self._take_late(name, wants, found)
        self._is_known(name)

    def _is_known(self, name: str) -> None:
        for then in self._fetching.pop(name, ()):
            then()

    def _adopt(self, name: str, wants: Wants, found: list[int]) -> None:
        """In the order of `_Channel.descriptors`. Without them, whoever was there has seen the end."""
        channel = _Channel(input=Input(self._actor.streams.pipes(name)) if wants.stdin else None)
        given = iter(found)
        if wants.terminal:
            channel.master = next(given)
        if channel.input is not None and not channel.input.ended:
            channel.target = next(given, -1)
            if channel.target < 0:  # who sends more is to know that it reaches nobody
                channel.input.end()
        descriptors.close_all(given)
        self._known[name] = channel
        self._keep(name, channel)

    def _take_late(self, name: str, wants: Wants, found: list[int]) -> None:
        """The last incarnation died between the runtime and the terminal: it waits in the socket."""
        if name in self._known:  # it has been started meanwhile
            descriptors.close_all(found)
            return
        if not found:
            self._actor.log.warning("the terminal of %s is lost", name or "its first process")
            return
        channel = _Channel(input=Input(self._actor.streams.pipes(name)) if wants.stdin else None)
        try:
            self._has_terminal(channel, console.take_kept(found[0]), wants)
        except (OSError, EOFError, ValueError) as error:
            self._actor.log.warning("the terminal of %s is lost: %s", name or "its first process", error)
            return
        self._known[name] = channel
        self._keep(name, channel)
        self._actor.host.say(op="drop", key=f"{name}/console")

    # A terminal's output: from the master to the FIFO that all output takes. In the pump's thread

    def _watch_master(self, channel: _Channel, output: Output, copy: Callable[[], None]) -> None:
        pump = self._actor.host.pump

        def readable() -> None:
            if not self._move_output(channel.master, output):  # nobody has it open just now, or no room
                pump.unwatch(channel.master)
                pump.call_later(LOOK_AGAIN, watch)
            copy()

        def watch() -> None:
            if channel.master >= 0:
                pump.watch(channel.master, readable)

        watch()

    @staticmethod
    def _move_output(master: int, output: Output) -> int | None:
        """Bytes moved; None at the end, which there is while no process has the terminal open."""
        try:
            return os.splice(master, output.descriptors[STDOUT], ONE_MOVE)
        except BlockingIOError:
            return 0
        except OSError:
            return None

    def drain(self, name: str, output: Output) -> None:
        """Move and copy all that is left."""
        channel = self._known.get(name)
        if channel is None or channel.master < 0:
            return
        while self._move_output(channel.master, output):
            output.drain()

    # Input: in the pump's thread, except where it says otherwise

    def feed(self, name: str, writer: str, offset: int, call: Call) -> None:
        """A piece of a writer, in the call's one buffer. In the actor's thread."""
        content = b"".join(call.envelope.buffers)
        if len(content) > MOST:
            raise RemoteError("invalid_argument", f"a piece of input has at most {MOST} bytes")

        def piece() -> bool:
            channel = self._known.get(name)
            if not call.open:  # given up by its writer
                return True
            if channel is None or channel.input is None or channel.input.ended:
                call.fail(_closed())
            elif channel.input.taken(writer) >= offset + len(content):
                call.reply({"taken": channel.input.taken(writer)})
            elif not channel.input.empty:
                return False
            else:
                self._take(channel.input, writer, offset, content, call)
            return True

        self._add(name, piece)

    @staticmethod
    def _take(taker: Input, writer: str, offset: int, content: bytes, call: Call) -> None:
        try:
            call.reply({"taken": taker.take(writer, offset, content)})
        except ValueError as error:
            call.fail(RemoteError("invalid_argument", str(error)))

    def end(self, name: str, call: Call) -> None:
        """The end of its input, behind all that was taken. In the actor's thread."""

        def piece() -> bool:
            channel = self._known.get(name)
            open_pipe = channel is not None and channel.master < 0  # a terminal is not closed by who types
            if channel is not None and channel.input is not None and open_pipe and not channel.input.ended:
                if not channel.input.empty:
                    return False
                channel.input.end()
                self._end_target(name, channel)
            call.reply({})
            return True

        self._add(name, piece)

    def _add(self, name: str, piece: Piece) -> None:
        channel = self._known.get(name)
        if channel is None:
            raise RemoteError("unavailable", "the process is only just starting, or its actor is")
        if len(channel.pieces) >= MOST_WAITING:
            raise RemoteError("overloaded", "the process does not read its input, and too many writers wait")

        def add() -> None:
            channel.pieces.append(piece)
            self._move(name)

        self._actor.host.pump.call(add)

    def _move(self, name: str) -> None:
        """Take pieces as long as they go on; wait for the process when they do not."""
        channel = self._known.get(name)
        if channel is None:
            return
        while self._deliver(name, channel) and channel.pieces and channel.pieces[0]():
            channel.pieces.popleft()

    def _deliver(self, name: str, channel: _Channel) -> bool:
        """Whether there is room for the next piece."""
        if channel.input is None or channel.target < 0:
            return True
        pump = self._actor.host.pump
        pump.unwatch(channel.target)
        try:
            gone = channel.input.deliver(channel.target)
        except OSError:  # the process has closed its end; a terminal may be opened again
            if channel.master >= 0:
                pump.call_later(LOOK_AGAIN, partial(self._move, name))
                return False
            channel.input.end()
            self._end_target(name, channel)
            return True
        if not gone:
            pump.watch(channel.target, partial(self._move, name), writing=True)
        return gone

    def _end_target(self, name: str, channel: _Channel) -> None:
        """The process sees the end once nobody has the writing end: neither we nor the zygote."""
        target, channel.target = channel.target, -1
        if target >= 0:
            self._actor.host.pump.unwatch(target)
            os.close(target)
            self._keep(name, channel)

    def resize(self, name: str, size: tuple[int, int], call: Call) -> None:
        """Tell a terminal its size. In any thread."""

        def tell() -> None:
            channel = self._known.get(name)
            give_size(-1 if channel is None else channel.master, size, call)

        self._actor.host.pump.call(tell)

    def discard(self, name: str) -> None:
        """Close what belongs to a process that has ended, or has not started. In the pump's thread."""
        channel = self._known.pop(name, None)
        if channel is None:
            return
        numbers = channel.descriptors()
        for number in numbers:
            self._actor.host.pump.unwatch(number)
        self._close(channel)
        if numbers:
            self._actor.host.say(op="drop", key=f"{name}/channel")
        while channel.pieces:
            channel.pieces.popleft()()

    @staticmethod
    def _close(channel: _Channel) -> None:
        descriptors.close_all(channel.descriptors())
        channel.master = channel.target = -1
        channel.input = None


def give_size(master: int, size: tuple[int, int], call: Call) -> None:
    """Where the master is closed as well, in the pump's thread: elsewhere its number may be another file's.

    -1 for one that is not there.
    """
    if master < 0:
        call.fail(RemoteError("failed_precondition", "the process has no terminal, or has ended"))
    else:
        window.set_window_size(master, *size)
        call.reply({})


def _closed() -> RemoteError:
    return RemoteError(
        "failed_precondition", "no input is taken: the process has ended, or was started without"
    )
