"""The keeper: a process that has what the zygote keeps for those who sleep, and outlives it.

What an actor has had kept is in two hands while it runs: its own and the zygote's. While it sleeps the
keeper's take the place of its own. So a SIGKILL of the zygote hangs up no terminal, is no end to a client's
FIFO, and loses nothing that waits in one, even if its container ends before there is another zygote.

It knows names and keys, and nothing of what they stand for. It is forked when there is something for it for
the first time; it ends when its zygote has ended and it has nothing. The next zygote gets all of it.

Said to it over a control channel (key `op`), with `name` and `key` where they are needed:
    door            a socket beside it, at which the zygote listens already: where the next one will connect
    keep            these descriptors, under this name and key
    drop            close those of one key
    forget          close all of a name
It says to a zygote that has connected, before it reads anything:
    kept            name, key and descriptors of what it has
    all             that was all
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from actors import failpoints
from actors.linux import descriptors
from actors.linux.process import name_of
from actors.zygote.birth import Birth
from actors.zygote.children import TakeoverError
from actors.zygote.control import Closed, Control, Message
from actors.zygote.spares import Spare

KEEPER: Final = "keeper"
PATIENCE: Final = 5.0  # seconds in which one that outlived its zygote has told the next one all
WAITING: Final = 64  # zygotes that have connected to one that does not accept
QUEUE: Final = 4 << 20  # bytes that may wait for it
Shelves = dict[str, dict[str, list[int]]]
"""Descriptors, by name and key."""
log = logging.getLogger("zygote")


# The zygote's side


class Keeper:
    """What the zygote has of the keeper, be there one or not.

    For one that is awake again, each key is held until its actor says that it has it (`keep`), or needs it no
    more: an actor that dies on its way from sleep finds all of it.
    """

    def __init__(
        self, path: Path, selector: selectors.BaseSelector, fork: Callable[[], Spare], kept: Shelves
    ) -> None:
        """`kept` is what the zygote keeps, to which `find` adds; `fork` makes the process, when it has to."""
        self._path, self._selector, self._fork, self._kept = path, selector, fork, kept
        self._process: Spare | None = None
        self._own = False
        self._past: set[int] = set()  # children that have ended or are about to
        self._held: dict[str, set[str]] = {}  # what it has: keys, by name

    def find(self) -> None:
        """Take over from one that outlived its zygote, if any; it is killed if it does not answer.

        Raises TakeoverError: there is no room for what it has, and it keeps that.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(os.fspath(self._path))
        except OSError:  # nobody listens
            connection.close()
            return
        process = Spare(descriptors.peer(connection).pid, Control(connection))
        self._watch(process, own=False)
        try:
            for name, key, found in _told(process.control):
                self._kept.setdefault(name, {})[key] = found
                self._held.setdefault(name, set()).add(key)
        except descriptors.NoRoomError as error:
            self._lose()
            raise TakeoverError(f"cannot take over what the keeper has: {error}") from error
        except Closed:  # it had nothing any more
            self._lose()
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._lose(f"does not tell what it has: {error!r}")
        else:
            connection.setblocking(False)

    def hold(self, name: str, keys: Iterable[str]) -> bool:
        """Have it keep what the zygote keeps under these keys; whether it does."""
        wanted = set(keys) & self._kept.get(name, {}).keys()
        if not wanted:
            return True
        self._held.setdefault(name, set()).update(wanted)
        return (self._process is not None and self._give(name, wanted)) or self._begin()

    def drop(self, name: str, key: str) -> None:
        """Whoever it is for has this itself by now, or wants it closed."""
        if key in self._held.get(name, ()):
            self._held[name].discard(key)
            self._say(op="drop", name=name, key=key)

    def forget(self, name: str) -> None:
        """As `drop`, of all."""
        if self._held.pop(name, None):
            self._say(op="forget", name=name)

    def ended(self, pid: int) -> bool:
        """Whether a child that has ended was a keeper."""
        if self._own and self._process is not None and self._process.pid == pid:
            self._lose()
        known = pid in self._past
        self._past.discard(pid)
        return known

    def look(self) -> None:
        """There is to be another one if the last has ended: not at once, since it may do so again."""
        if self._process is None and any(self._held.values()):
            log.warning("the keeper has ended; there will be another one")
            self._begin()

    # The process

    def _begin(self) -> bool:
        """A new one, which gets everything. False when there cannot be any."""
        try:
            process = self._fork()
            failpoints.hit("zygote", KEEPER, "forked")
            self._watch(process, own=True)
            process.control.socket.setblocking(False)
            process.control.send(op="go", name=KEEPER, inc=1)
            with _listening(self._path) as door:
                process.control.send_with([door.fileno()], op="door")
        except (OSError, Closed) as error:
            self._lose(f"cannot be started: {error}")
            return False
        return all(self._give(name, keys) for name, keys in list(self._held.items()))

    def _watch(self, process: Spare, *, own: bool) -> None:
        """`own`: it is our child, which we are to reap."""
        self._process, self._own = process, own
        descriptors.enlarge_queue(process.control.socket, QUEUE)
        self._selector.register(process.control.socket, selectors.EVENT_READ, self._hear)

    def _give(self, name: str, keys: Iterable[str]) -> bool:
        shelves = self._kept.get(name, {})
        failpoints.hit("zygote", KEEPER, "before")
        given = all(self._say(shelves[key], op="keep", name=name, key=key) for key in keys if key in shelves)
        failpoints.hit("zygote", KEEPER, "after")
        return given

    def _say(self, given: Sequence[int] = (), **message: str) -> bool:
        """False when there is none any more. One that does not read is none."""
        if self._process is None:
            return False
        try:
            self._process.control.send_with(given, **message)
        except Closed:
            self._lose()
            return False
        except (OSError, ValueError) as error:
            self._lose(f"cannot be told anything: {error}")
            return False
        return True

    def _hear(self) -> None:
        """It says nothing: that there is something to read is its end."""
        if self._process is None:
            return
        try:
            self._process.control.receive()
        except (BlockingIOError, ValueError, TypeError):
            return
        except (Closed, OSError):
            self._lose()

    def _lose(self, why: str = "") -> None:
        """Without one from now on. `why`: it lives, and is of no use."""
        process, self._process = self._process, None
        if why:
            log.error("the keeper %s", why)
        if process is None:
            return
        self._selector.unregister(process.control.socket)
        process.control.close()
        if self._own:
            self._past.add(process.pid)
        if why and (self._own or name_of(process.pid) == KEEPER):  # not the zygote that it had
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def _told(control: Control) -> Iterator[tuple[str, str, list[int]]]:
    while True:
        message, found = control.receive_with()
        if message["op"] == "all":
            return
        yield str(message["name"]), str(message["key"]), found


def _listening(path: Path) -> socket.socket:
    """In place of one at which nobody listens any more.

    From now on the keeper is found, even if its zygote dies before the keeper has been given this.
    """
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.bind(os.fspath(path))
    path.chmod(0o600)
    door.listen(WAITING)
    return door


# The keeper's side


def keep(birth: Birth) -> None:
    """Its program: hear one zygote after the other."""
    control, held = birth.control, Held()
    while True:
        _serve(control, held)
        control.close()
        if not held.shelves or held.door is None:
            return
        connection, _ = held.door.accept()
        control = Control(connection)
        with contextlib.suppress(Closed, OSError):  # then there will be another one
            _tell_all(control, held.shelves)


class Held:
    """All that it has."""

    def __init__(self) -> None:
        """Nothing."""
        self.shelves: Shelves = {}
        self.door: socket.socket | None = None

    def heed(self, message: Message, received: list[int]) -> None:
        """Do as is said. Raises KeyError, OSError."""
        match message["op"]:
            case "door":
                self.door = socket.socket(fileno=received.pop())
                self.door.listen(WAITING)  # who connects speaks with who did this last, says the kernel
            case "keep":
                name, key = message["name"], message["key"]
                self._close(name, key)
                failpoints.hit(KEEPER, "keep", "before")
                self.shelves.setdefault(name, {})[key] = received.copy()
                received.clear()
            case "drop":
                self._close(message["name"], message["key"])
            case "forget":
                for key in list(self.shelves.get(message["name"], ())):
                    self._close(message["name"], key)

    def _close(self, name: str, key: str) -> None:
        shelf = self.shelves.get(name, {})
        descriptors.close_all(shelf.pop(key, ()))
        if not shelf:
            self.shelves.pop(name, None)


def _serve(control: Control, held: Held) -> None:
    """Until its zygote has gone."""
    while True:
        try:
            message, received = control.receive_with()
        except (Closed, OSError):
            return
        except (ValueError, TypeError):
            continue
        try:
            held.heed(message, received)
        except (KeyError, IndexError, OSError) as error:
            logging.getLogger(KEEPER).error("cannot %s: %r", message["op"], error)  # noqa: TRY400
        descriptors.close_all(received)


def _tell_all(control: Control, shelves: Mapping[str, Mapping[str, list[int]]]) -> None:
    for name, shelf in shelves.items():
        for key, found in shelf.items():
            control.send_with(found, op="kept", name=name, key=key)
    control.send(op="all")
