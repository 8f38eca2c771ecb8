"""Clients that vanish: thousands of execs, attachments and resizes, each cut off at a random moment.

What they leave has to go away by itself, so that an actor has as many descriptors and threads afterwards as
before, and as much memory (figures for each actor that the load reaches).
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.linux.process import descriptor_count, proportional_memory
from transport.client import Client
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.daemon import Daemon

AT_ONCE: Final = 6
WARM_UP: Final = 5  # one session in so many, before anything is counted
SETTLE: Final = 120.0  # seconds; an exec that its client left is forgotten after 60
SLACK: Final = 4 << 20  # bytes that an actor's share of memory may have grown by
_COMMANDS: Final = (
    ["true"],
    ["sh", "-c", "echo begun; sleep 0.02; echo ended"],
    ["head", "-c", "2000000", "/dev/zero"],
    ["sh", "-c", "exit 3"],
)
_TICKING: Final = "stty -echo; while sleep 0.2; do stty size; done"


@dataclass(frozen=True, slots=True)
class Holding:
    """What a process has: descriptors, threads, and bytes of memory by its share of each page."""

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def of(cls, pid: int) -> Holding:
        """Of a process that lives."""
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        return cls(descriptor_count(pid), threads, proportional_memory(pid))


@dataclass(slots=True)
class Figures:
    """What was done, and what each actor had before and afterwards, by name."""

    sessions: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    before: dict[str, Holding] = field(default_factory=dict)
    after: dict[str, Holding] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def grown(self) -> list[str]:
        """Actors that have more than they had."""
        return [
            name
            for name, was in self.before.items()
            if (now := self.after[name]).descriptors > was.descriptors
            or now.threads > was.threads
            or now.memory > was.memory + SLACK
        ]

    def lines(self) -> Iterator[str]:
        """For people."""
        yield ", ".join(f"{number} {what}" for what, number in sorted(self.operations.items()))
        yield "clients that " + ", ".join(f"{what}: {n}" for what, n in sorted(self.sessions.items()))
        for name, was in sorted(self.before.items()):
            now = self.after[name]
            yield (
                f"{name[:40]:40} descriptors {was.descriptors} -> {now.descriptors}, "
                f"threads {was.threads} -> {now.threads}, memory {was.memory >> 10} -> {now.memory >> 10} KiB"
            )
        yield f"{self.seconds:.1f} s; grown: {', '.join(self.grown) or 'none'}"


class Vanishing(Client):
    """A client that may go at any moment."""

    def say(self, op: str, body: dict[str, Any], to: str) -> None:
        """Ask, and listen to no answer."""
        self._send_request(op, body, to, (), dl=30_000)


class Clients:
    """All of them, and the two containers that they are clients of."""

    def __init__(self, daemon: Daemon, image: str, seed: int) -> None:
        self._daemon, self._seed = daemon, seed
        run = ("run", "-d", "-t", "-i", image, "sh", "-c")
        self._names = [daemon.actr(*run, script).stdout.strip() for script in ("sleep 86400", _TICKING)]
        self._plain, self._ticking = (f"container/default/{name}" for name in self._names)
        self._execs: list[str] = []
        self._lock = threading.Lock()
        self.figures = Figures()

    def perform(self, count: int, *, sweep: bool = False) -> Figures:
        """So many sessions. `sweep`: a last client lets go of what the others left, or it takes a minute."""
        fresh = self._holdings()
        self._all(range(count // WARM_UP), sweep=sweep)
        warm = self._holdings()
        before = {name: replace(one, memory=warm[name].memory) for name, one in fresh.items()}
        found = self.figures = Figures(before=before)
        began = time.monotonic()
        self._all(range(count // WARM_UP, count // WARM_UP + count), sweep=sweep)
        found.seconds = time.monotonic() - began
        end = time.monotonic() + SETTLE
        found.after = self._holdings()
        while found.grown and time.monotonic() < end:
            time.sleep(0.2)
            found.after = self._holdings()
        for name in self._names:
            self._daemon.actr("rm", "-f", name)
        return found

    def _holdings(self) -> dict[str, Holding]:
        wanted = {self._plain, self._ticking, "router", "supervisor", "events", "metadata", "zygote"}
        return {name: Holding.of(one["pid"]) for name, one in self._daemon.actors().items() if name in wanted}

    def _all(self, numbers: range, *, sweep: bool) -> None:
        """Carry the sessions out, some at a time, and wait until nothing of them is left."""
        left, failures = iter(numbers), list[BaseException]()

        def work() -> None:
            try:
                while not failures:
                    with self._lock:
                        number = next(left, None)
                    if number is None:
                        return
                    self._session(random.Random(self._seed * 1_000_003 + number))
            except BaseException as error:  # noqa: BLE001  # raised again below
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        self._settle(sweep=sweep)

    def _settle(self, *, sweep: bool) -> None:
        directory = self._daemon.state / "containers/default" / self._names[0] / "execs"
        end = time.monotonic() + SETTLE
        while names := [one.name for one in directory.glob("*")]:
            if time.monotonic() > end:
                raise AssertionError(f"execs are still there after {SETTLE} s: {names[:5]}")
            if sweep:
                self._let_go(names)
            time.sleep(0.2)

    def _let_go(self, names: list[str]) -> None:
        with contextlib.closing(Client(str(self._daemon.state / "actord.sock"))) as client:
            for name in names:
                with contextlib.suppress(RemoteError):  # it runs
                    client.request("tasks.exec_delete", {"exec_id": name}, to=self._plain)

    # Sessions

    def _session(self, chance: random.Random) -> None:
        kinds: tuple[Callable[[Vanishing, random.Random], str], ...]
        kinds = (self._exec, self._exec, self._attach, self._resize)
        if chance.random() < 0.02:  # these cost a hundred times as much
            done = self._killed(chance)
        else:
            client = Vanishing(str(self._daemon.state / "actord.sock"))
            try:
                done = chance.choice(kinds)(client, chance)
            finally:
                client.close()
        with self._lock:
            self.figures.sessions[done] += 1

    def _did(self, what: str) -> None:
        with self._lock:
            self.figures.operations[what] += 1

    def _exec(self, client: Vanishing, chance: random.Random) -> str:
        """Go after asking, after the answer, after some output, or after the end."""
        terminal = chance.random() < 0.5
        name = chance.randbytes(8).hex()
        body = {"exec_id": name, "args": chance.choice(_COMMANDS), "terminal": terminal}
        self._did("execs")
        stage = chance.randrange(4)
        if stage == 0:
            client.say("tasks.exec", body, self._plain)
            return "went before the answer"
        client.request("tasks.exec", body, to=self._plain, limit=60)
        if terminal:
            client.say("tasks.resize", {"rows": 10, "columns": 20, "exec_id": name}, self._plain)
            self._did("resizes")
        if stage == 1:
            return "went after the answer"
        self._read(
            client, self._plain, {"exec_id": name, "follow": True}, chance.randrange(1, 5) * (stage < 3)
        )
        return "went in the middle of output" if stage < 3 else "saw the end and let nothing go"

    def _attach(self, client: Vanishing, chance: random.Random) -> str:
        """Follow a terminal, type, resize, and go."""
        self._did("attachments")
        client.say("tasks.input", {"writer": chance.randbytes(8).hex()}, self._ticking)
        self._size(client, chance)
        self._read(client, self._ticking, {"recent": 4096, "follow": True}, chance.randrange(1, 4))
        return "went while attached"

    def _resize(self, client: Vanishing, chance: random.Random) -> str:
        for _ in range(chance.randrange(1, 4)):
            self._size(client, chance)
        return "went after a resize"

    def _size(self, client: Vanishing, chance: random.Random) -> None:
        self._did("resizes")
        size = {"rows": chance.randrange(1, 200), "columns": chance.randrange(1, 200)}
        client.say("tasks.resize", size, self._ticking)

    @staticmethod
    def _read(client: Vanishing, actor: str, body: dict[str, object], most: int) -> None:
        """So many messages of output, 0 for all; the iterator is left as it is, nothing is cancelled."""
        stream = client.stream("tasks.output", body, to=actor, credit=1 << 16)
        with contextlib.suppress(RemoteError):
            for number, _ in enumerate(stream, 1):
                if number == most:
                    break
        client.close()  # before the iterator is thrown away, so that it can say nothing

    def _killed(self, chance: random.Random) -> str:
        """The real command line, killed at a random moment."""
        self._did("execs")
        process = self._daemon.popen("exec", "-t", self._names[0], "sh", "-c", "echo begun; sleep 0.02")
        time.sleep(chance.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return "were killed"
