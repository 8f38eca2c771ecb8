"""A router and actors in processes of their own, each started as the zygote would, for tests to talk to."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from actors.actor import program
from actors.router import run as run_router
from actors.settings import Settings
from actors.zygote.birth import Birth, begin
from actors.zygote.control import Closed, Control, Message, pair
from transport.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.actor import Actor

LIMIT = 20.0  # seconds that no step needs


def print_to_own_output() -> None:
    """In a child, before it begins: write to the descriptors that it keeps.

    What pytest captures and logs goes to others. Those the child closes, and gives their numbers anew: what
    it logged would be written into whatever it had opened since, a database for example.
    """
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    logging.getLogger().handlers = [logging.StreamHandler()]


@dataclass
class Inhabitant:
    """One actor's process and our end of its control channel."""

    pid: int
    control: Control
    said: list[Message] = field(default_factory=list)

    def ready(self) -> Self:
        self.hear("ready")
        return self

    def hear(self, op: str) -> Message:
        """Wait until it says this."""
        while True:
            message = self.control.receive()
            self.said.append(message)
            if message["op"] == op:
                return message

    def listen(self) -> None:
        """Take what it has said so far."""
        try:
            while select.select([self.control], [], [], 0)[0]:
                self.said.append(self.control.receive())
        except Closed:
            return

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Everything that it still says, then its exit code."""
        try:
            while True:
                self.said.append(self.control.receive())
        except Closed:
            self.control.close()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return code


class Town:
    """Directories, a router, actors by name."""

    def __init__(self, path: Path, **settings: Any) -> None:
        for name in ("root", "state"):
            (path / name).mkdir()
        self.settings = Settings(root=path / "root", state=path / "state", **settings)
        self.actors: dict[str, Inhabitant] = {}
        self.incarnations: dict[str, int] = {}
        self.clients: list[Client] = []

    def __enter__(self) -> Self:
        self.start("router", run_router)
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()
        for one in list(self.actors.values()):
            if one.pid:
                one.kill()
                one.wait()

    def start(self, name: str, run: Callable[[Birth], None]) -> Inhabitant:
        """The next incarnation; returns when it is ready."""
        inc = self.incarnations[name] = self.incarnations.get(name, 0) + 1
        ours, theirs = pair()
        kind = name.partition("/")[0]
        birth = Birth(name, inc, kind, self.settings, theirs, "instance")
        here = os.getpid()
        pid = os.fork()
        if pid == 0:
            print_to_own_output()
            begin(birth, run, here)
        theirs.close()
        ours.socket.settimeout(LIMIT)
        self.actors[name] = Inhabitant(pid, ours)
        return self.actors[name].ready()

    def actor(self, cls: type[Actor]) -> Inhabitant:
        return self.start(cls.kind, program(cls))

    def killed(self, name: str) -> None:
        """SIGKILL, and wait for the end."""
        self.actors[name].kill()
        assert self.actors[name].wait() == -signal.SIGKILL

    def listen(self) -> None:
        """To everybody, as the zygote does: a channel that nobody reads fills up, and its actor waits."""
        for one in self.actors.values():
            if one.pid:
                one.listen()

    def client(self) -> Client:
        self.clients.append(Client(os.fspath(self.settings.router_socket)))
        return self.clients[-1]
