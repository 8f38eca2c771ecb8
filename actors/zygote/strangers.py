"""How those end that are, or may become, children of a stranger, on a kernel that tells only a parent.

When all of actord is killed at once its containers become children of init. From Linux 6.15 on a pidfd tells
how one of them ends. Before, the kernel tells those who listen to the ends of all processes
(actors/linux/exit_events.py); here is who listens.

Each process that an actor watches is written down, so that the next zygote can listen for it before it starts
anybody. Listened for are those that are not children of their actor, or of one that is not ours: our own too,
of an actor that sleeps or has crashed, as we may be gone before they are. The keeper has the socket as well:
what ends between two zygotes waits in it. An event leaves it only when `Exits` has it.
"""

import logging
import re
import selectors
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from actors import failpoints
from actors.linux import pidfd
from actors.linux.descriptors import Reserve
from actors.linux.exit_events import ExitEvent, ExitEvents
from actors.linux.pidfd import Process
from actors.zygote.children import Child
from actors.zygote.control import Message
from actors.zygote.exits import Exits
from actors.zygote.keeper import Keeper, Shelves

NAME, KEY = "zygote", "exits"  # of the socket's shelf; no actor is called so
AT_ONCE: Final = 256  # events, before it is others' turn
SETTLED: Final = 1_000_000_000  # nanoseconds after which no thread of one that has ended tells of its end
_SHELF = re.compile(r"process/(\d+)-(\d+)")
log = logging.getLogger("zygote")


def shelf(target: Process) -> str:
    """The key under which an actor has the zygote keep a pidfd of what it watches."""
    return f"process/{target.pid}-{target.start_time}"


class Strangers:
    """Those that actors watch, and how they end if it has to be heard of."""

    def __init__(
        self,
        directory: Path,
        selector: selectors.BaseSelector,
        exits: Exits,
        keeper: Keeper,
        kept: Shelves,
        reserve: Reserve,
    ) -> None:
        """`directory` has a file for each that is watched; `kept` is what the zygote and `keeper` have."""
        self._directory, self._selector, self._exits = directory, selector, exits
        self._keeper, self._kept, self._reserve = keeper, kept, reserve
        self._needed = not pidfd.tells_exits()
        self._followed: dict[int, Process] = {}
        self._ended: dict[Process, int] = {}  # of those, since when
        self._events: ExitEvents | None = None
        self._complained = False

    # Who is followed

    def find(self) -> None:
        """Go on where an earlier zygote was, when it is known what the keeper has. None is our child."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if not self._needed:
            return
        matches = [_SHELF.fullmatch(f"process/{path.name}") for path in self._directory.iterdir()]
        found = [_process(match) for match in matches if match is not None]
        gone = [target for target in found if not target.exists()]
        self._followed = {target.pid: target for target in [*gone, *(set(found) - set(gone))]}
        if inherited := self._kept.get(NAME, {}).get(KEY):
            try:
                self._listen_with(ExitEvents(self._followed, inherited[0]))
            except OSError as error:  # it has been closed
                self._complain(error)
                del self._kept[NAME]
                self._keeper.forget(NAME)
            self._ended = dict.fromkeys(gone, time.monotonic_ns())
        else:
            self._forget(gone)
            self._narrow()
        if not self._followed:
            self._end()

    def heed(self, child: Child, message: Message) -> None:
        """What an actor has kept in the descriptor store tells whom it watches."""
        if message["op"] == "keep":
            self.watch(child, str(message["key"]))
        elif message["op"] == "drop":
            self.drop(str(message["key"]))

    def watch(self, child: Child, key: str) -> None:
        """An actor has begun to watch a process, says so once more, or has left it to us."""
        if not self._needed or (match := _SHELF.fullmatch(key)) is None:
            return
        target = _process(match)
        with self._reserve.lent():
            if (looked_after := _has_two_parents(child, target)) is None:
                return
            self._write(target)
        if not looked_after and self._followed.get(target.pid) != target:
            self._followed[target.pid] = target
            self._narrow()

    def drop(self, key: str) -> None:
        """Its end has been journalled, or is of no interest any more."""
        if self._needed and (match := _SHELF.fullmatch(key)) is not None:
            target = _process(match)
            self._exits.forget(target)
            self._forget([target])

    def look(self) -> None:
        """Of one that has ended for a while nothing more will be heard; who could not listen tries again."""
        before = time.monotonic_ns() - SETTLED
        self._forget([target for target, at in self._ended.items() if at < before])
        if self._followed and self._events is None:
            self._narrow()

    def _forget(self, targets: Iterable[Process]) -> None:
        """The next process with its pid must not be taken for it."""
        narrower = False
        for target in targets:
            self._ended.pop(target, None)
            self._file(target).unlink(missing_ok=True)
            if self._followed.get(target.pid) == target:
                del self._followed[target.pid]
                narrower = True
        if narrower:
            self._narrow()

    def _note_gone(self) -> None:
        """What is not told soon of those who have ended by now never will be."""
        with self._reserve.lent():
            gone = [target for target in self._followed.values() if not target.exists()]
        for target in gone:
            self._ended.setdefault(target, time.monotonic_ns())

    def _write(self, target: Process) -> None:
        try:
            self._file(target).touch(mode=0o600)
        except OSError as error:
            log.error("the next zygote would not know of process %d: %s", target.pid, error)  # noqa: TRY400

    def _file(self, target: Process) -> Path:
        return self._directory / f"{target.pid}-{target.start_time}"

    # Listening

    def hear(self) -> None:
        """Take in what has come, though not more than others can wait for."""
        for _ in range(AT_ONCE):
            if self._events is None:
                return
            try:
                event = self._events.first()
            except OSError as error:
                log.error("the ends of some processes have not been heard of: %s", error)  # noqa: TRY400
                self._note_gone()
                return
            if event is None:
                return
            self._heed(event)
            self._events.drop_first()

    def _heed(self, event: ExitEvent) -> None:
        """What the last of its threads tells counts. It may come to us later than to who has reaped it."""
        target = self._followed.get(event.pid)
        if target is None:
            return
        with self._reserve.lent():
            if not target.has_ended() or event.at - self._ended.setdefault(target, event.at) > SETTLED:
                return
            failpoints.hit("zygote", "stranger", "before")
            ago = time.monotonic_ns() - event.at
            self._exits.keep(target, event.status, time.time_ns() - ago)
        failpoints.hit("zygote", "stranger", "kept")

    def _narrow(self) -> None:
        """Listen to those who are followed by now; to nobody, without any."""
        if not self._followed:
            self._end()
            return
        try:
            if self._events is not None:
                self._events.only(self._followed)
                return
            self._listen_with(ExitEvents(self._followed))
            self._note_gone()
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        """Once: it is tried again from time to time."""
        if not self._complained:
            log.error("how a stranger's children end will not be known: %s", error)
        self._complained = True

    def _listen_with(self, events: ExitEvents) -> None:
        self._events = events
        self._selector.register(events.socket, selectors.EVENT_READ, self.hear)
        self._kept[NAME] = {KEY: [events.socket.fileno()]}
        self._keeper.hold(NAME, [KEY])

    def _end(self) -> None:
        if self._events is None:
            return
        self._selector.unregister(self._events.socket)
        del self._kept[NAME]
        self._keeper.forget(NAME)
        self._events.end()
        self._events = None


def _process(match: re.Match[str]) -> Process:
    return Process(int(match[1]), int(match[2]))


def _has_two_parents(child: Child, target: Process) -> bool | None:
    """Whether its actor is its parent, and we are next; None for one that is gone."""
    try:
        parent = pidfd.parent(target.pid)
    except ProcessLookupError:
        return None
    return parent == child.process.pid and child.pidfd < 0 if target.exists() else None
