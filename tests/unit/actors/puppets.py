"""A real zygote whose children are puppets: processes that do what a test tells them, one step at a time.

A puppet connects to the test's own socket, says who it is, passes on all that the zygote says to it, and
performs orders. So every step of a test waits for what has happened, never for time to pass.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import select
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from forked import Forked

from actors.linux import descriptors, process
from actors.settings import Settings
from actors.zygote.control import Closed, Control
from actors.zygote.door import knock
from actors.zygote.loop import Zygote
from chaos.left import children

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.zygote.birth import Birth

LIMIT = 20  # seconds that no step needs
KIND = socket.SOCK_SEQPACKET


def programs(strings: Path) -> dict[str, Any]:
    return dict.fromkeys(("supervisor", "worker", "container"), lambda birth: Puppet(strings, birth).act())


class Puppet:
    """In the child's process."""

    def __init__(self, strings: Path, birth: Birth, name: str = "") -> None:
        self.birth, self.strings, self.kept = birth, strings, []
        connection = socket.socket(socket.AF_UNIX, KIND)
        connection.connect(os.fspath(strings))
        self.puppeteer = Control(connection)
        self.puppeteer.send(op="born", name=name or birth.name, inc=birth.inc, pid=os.getpid())

    def act(self) -> None:
        poll = select.poll()
        poll.register(self.puppeteer.fileno(), select.POLLIN)
        poll.register(self.birth.control.fileno(), select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self.birth.control.fileno() in ready and not self._hear():
                poll.unregister(self.birth.control.fileno())
            if self.puppeteer.fileno() in ready:
                self._obey(self.puppeteer.receive())

    def _hear(self) -> bool:
        try:
            message = self.birth.control.receive()
        except Closed:
            self.puppeteer.send(op="alone")
            return False
        self.puppeteer.send(op="heard", message=message)
        return True

    def _obey(self, order: dict[str, Any]) -> None:
        match order["op"]:
            case "say":
                self.birth.control.send(**order["message"])
            case "raw":
                descriptors.send(self.birth.control.socket, bytes(order["payload"]), order["beside"])
            case "keep":
                descriptor = os.open(order["path"], os.O_RDWR)
                more = {name: order[name] for name in ("alone",) if name in order}
                self.birth.control.send_with([descriptor], op="keep", key=order["key"], **more)
                os.close(descriptor)
            case "knock":
                knock(self.birth.settings.zygote_socket, self.birth.control.fileno())
            case "bear":
                self._bear(order["name"])
            case "raise":
                raise RuntimeError(order["text"])
            case "exit":
                raise SystemExit(order["code"])

    def _bear(self, name: str) -> None:
        """A child of the child: an orphan of the zygote's once we are gone."""
        if os.fork() == 0:
            self.puppeteer.close()
            code = 70
            try:
                Puppet(self.strings, self.birth, name).act()
            except SystemExit as end:
                code = int(str(end.code))
            finally:
                os._exit(code)


@dataclass
class String:
    """The test's end of one puppet."""

    control: Control
    name: str
    inc: int
    pid: int
    passed: list[dict[str, Any]] = field(default_factory=list)

    def order(self, op: str, **fields: Any) -> None:
        self.control.send(op=op, **fields)

    def say(self, op: str, **fields: Any) -> None:
        self.order("say", message={"op": op, **fields})

    def hears(self, word: str) -> dict[str, Any]:
        """Wait until the zygote has said this to it; what came before is in `passed`."""
        while True:
            told = self.control.receive()
            message = told.get("message", told)
            if word in (message.get("ev"), message.get("op")):
                return message
            self.passed.append(message)

    def ended(self) -> None:
        """Wait until its process has ended, which closes its end."""
        try:
            while True:
                self.passed.append(self.control.receive())
        except Closed:
            return


class Stage:
    """The directories, the socket for puppets, and a zygote (or one after the other)."""

    def __init__(self, path: Path, **settings: Any) -> None:
        (path / "root").mkdir()
        (path / "state").mkdir()
        self.settings = Settings(
            root=path / "root", state=path / "state", supervision_hang_after=3600.0, **settings
        )
        self.up = path / "up"
        self.strings = path / "strings"
        self.listener = socket.socket(socket.AF_UNIX, KIND)
        self.listener.bind(os.fspath(self.strings))
        self.listener.listen(64)
        self.listener.settimeout(LIMIT)
        self.known: list[String] = []
        self.zygotes: list[Forked] = []

    def __enter__(self) -> Self:
        self.others = set(children(os.getpid()))  # of tests before: a registry, for one
        process.set_child_subreaper()  # those who outlive the zygote come to us
        return self

    def __exit__(self, *_: object) -> None:
        for zygote in self.zygotes:
            zygote.end()
        if keeper := self.keeper():
            os.kill(keeper, signal.SIGKILL)
        self.listener.close()  # before the rest: nobody may be born into an empty house
        for one in self.known:
            one.control.close()
        self.reap()
        process.set_child_subreaper(on=False)

    def keeper(self) -> int:
        """The pid of the one that there is, 0 for none; it takes us for the next zygote, if there is none."""
        with socket.socket(socket.AF_UNIX, KIND) as connection:
            try:
                connection.connect(os.fspath(self.settings.keeper_socket))
            except OSError:
                return 0
            pid = descriptors.peer(connection).pid
            return pid if process.name_of(pid) == "keeper" else 0  # its zygote, until it listens itself

    @staticmethod
    def settles(condition: Callable[[], Any]) -> None:
        """Wait for what nobody tells of."""
        end = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.005)

    def reap(self) -> None:
        """Puppets without a puppeteer end; wait for those that are our children by now."""
        while ours := set(children(os.getpid())) - self.others:
            for pid in ours:
                os.waitpid(pid, 0)

    def zygote(self) -> Forked:
        def run() -> None:
            Zygote(self.settings, programs(self.strings), "instance", self.up.touch, lambda: None).run()

        self.zygotes.append(Forked(run))
        return self.zygotes[-1]

    def meets(self, name: str) -> String:
        """The next puppet to be born is this one."""
        connection, _ = self.listener.accept()
        connection.settimeout(LIMIT)
        control = Control(connection)
        born = control.receive()
        assert born["name"] == name
        self.known.append(String(control, name, born["inc"], born["pid"]))
        return self.known[-1]

    def opening(self) -> tuple[Forked, String]:
        """A zygote and its supervisor."""
        return self.zygote(), self.meets("supervisor")

    def spawn(self, supervisor: String, name: str, kind: str) -> String:
        supervisor.say("spawn", name=name, kind=kind, args={"for": name}, survives=kind == "container")
        spawned = supervisor.hears("spawned")
        puppet = self.meets(name)
        found = spawned["name"], spawned["inc"], spawned["pid"]
        assert found == (name, puppet.inc, puppet.pid), (found, puppet)
        return puppet


def has(pid: int, path: Path) -> bool:
    """Whether a process has it open."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            found.add(link.readlink())
    return path in found


def starve(zygote: Forked) -> None:
    """No further descriptor for it."""
    taken = {int(path.name) for path in Path(f"/proc/{zygote.pid}/fd").iterdir()}
    free = next(number for number in itertools.count() if number not in taken)
    _, most = resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, (free, most))
