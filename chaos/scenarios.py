"""The load: clients that create, run, follow, exec, kill, pull and remove, and know what must come out."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.linux.pidfd import parent, tells_exits
from chaos.asking import PERSIST, RecordingSession, persist
from chaos.creating import create
from chaos.expectations import CODE, EXIT_LIMIT, EXPECTED, KEPT, KEYED, Expectations
from chaos.runs import STOP, Run, counting, pid_and_start, ticking
from cli.following import Output
from cli.pull import pull
from cli.rm import remove_container
from cli.session import RefusedError
from transport.client import NotRunningError

if TYPE_CHECKING:
    from chaos.scene import Scene

BREATH: Final = 0.2  # seconds at most between two scenarios of a client
KILLED: Final = 137
ENDED: Final = ("is not running", "in a stopped container")  # what the actor says, and the runtime
LATE: Final = "no answer from"  # in the text of an error: a deadline was over
QUIET: Final = 50  # looks between two lines of a container that is quiet, a fifth of a second each
DOZE: Final = 1.5  # seconds at most that such a container is left alone
SLEEP_LIMIT: Final = 30.0  # seconds until its actor sleeps


class Worker(threading.Thread):
    """One client of the load: one scenario after the other until told to stop."""

    def __init__(self, scene: Scene, number: int, seed: int, stop: threading.Event) -> None:
        super().__init__(name=f"load-{number}", daemon=True)
        self.scene, self.findings, self.runs = scene, scene.findings, scene.runs
        self.chance = random.Random(seed * 1000 + number)
        self.stop = stop
        self.number = number
        self.session = RecordingSession(scene.socket, scene.findings)
        self.expect = Expectations(self.session, scene)
        self._serial = 0
        self._mine: list[Run] = []

    def run(self) -> None:
        """Until told to stop; a scenario that has begun is brought to its end."""
        scenarios: list[Callable[[], None]] = [
            self.short,
            self.created,
            self.worked,
            self.slept,
            self.killed,
            self.marked,
        ]
        weights = [5, 2, 4, 3, 2, 2]
        if self.number == 0:
            scenarios, weights = [self.pulled, self.short], [4, 1]
        while not self.stop.is_set():
            self.attempt(self.chance.choices(scenarios, weights)[0])
            self.stop.wait(self.chance.uniform(0, BREATH))
        self.session.close()

    def attempt(self, scenario: Callable[[], None]) -> None:
        """Run a scenario; what it did not expect is a violation, unless a resource was missing."""
        began = self.findings.now()
        try:
            scenario()
        except (RefusedError, NotRunningError) as error:
            op = error.op if isinstance(error, RefusedError) else "connecting"
            code = error.code if isinstance(error, RefusedError) else "not running"
            excused = self.findings.excuses(_cause(code, str(error)), began, self.findings.now())
            if excused:
                self.findings.note(f"failed while a resource or an answer was missing: {op}: {code}")
            self.findings.check(EXPECTED, excused, f"{_name(scenario)}: {op}: {code}: {error}")
            self._clear()
        else:
            self.findings.check(EXPECTED, holds=True)

    def _clear(self) -> None:
        """Remove what a scenario that did not come to its end has left."""
        for run in self._mine:
            if run.over:
                continue
            run.may_end = True
            while not run.over and self._cleared(run):
                time.sleep(BREATH)

    def _cleared(self, run: Run) -> bool:
        """Whether it was removed, or is to be tried again: what the scenario lacked may still be missing."""
        began = self.findings.now()
        try:
            self.remove(run)
        except (RefusedError, NotRunningError) as error:
            code = error.code if isinstance(error, RefusedError) else "not running"
            excused = self.findings.excuses(_cause(code, str(error)), began, self.findings.now())
            return self.findings.check(EXPECTED, excused, f"{run.name} cannot be removed: {error}")
        run.over = True
        return True

    # Scenarios

    def short(self) -> None:
        """A container that prints and ends by itself, followed to its end."""
        run = self.make(self.chance.randint(0, 120), self.chance.randint(1, 4000), wanted="running")
        self.finish(run)

    def created(self) -> None:
        """The same in single steps: create, list, start."""
        run = self.make(self.chance.randint(0, 120), self.chance.randint(1, 300), wanted="stopped")
        listed = persist(lambda: self.session.ask("metadata", "containers.list", {"namespace": "c"}))
        found = [one["id"] for one in listed["containers"]]
        self.findings.check(KEPT, run.id in found, f"container {run.name} was created and is not listed")
        persist(lambda: self.session.ask(run.actor, "tasks.start", {"run": 1}))
        run.started = True
        self.finish(run)

    def worked(self) -> None:
        """A container that runs until it is told, with some execs."""
        run = self.make(self.chance.randint(0, 120), 0, wanted="running")
        self.learn_init(run)
        for _ in range(self.chance.randint(1, 3)):
            self.execute(run)
        self.look_at_marks(run)
        self.finish(run, stop=True)

    def slept(self) -> None:
        """One that is quiet for a while and ends past the daemon; its actor sleeps meanwhile, as a rule."""
        run = self.make(self.chance.randint(0, 120), 0, wanted="running", pause=QUIET)
        self.learn_init(run)
        self.stop.wait(self.chance.uniform(0, DOZE))
        run.may_end = True
        self.end_unseen(run)
        self.finish(run, stop=not run.init[0])

    def killed(self) -> None:
        """A container that is killed, by signal or by stop."""
        run = self.make(self.chance.randint(0, 120), 0, wanted="running")
        self.learn_init(run)
        run.may_end, run.code = True, KILLED
        if self.chance.random() < 0.5:
            persist(lambda: self.session.ask(run.actor, "tasks.stop", {"grace": 0.1}, limit=EXIT_LIMIT))
        else:
            self.signal(run)
        self.finish(run)

    def marked(self) -> None:
        """An event with a key, said three times."""
        key = self.chance.randbytes(12).hex()
        body = {
            "namespace": "c",
            "topic": "/chaos/mark",
            "key": key,
            "body": {"key": key},
            "at": time.time_ns(),
        }
        self.scene.marks.append(key)
        for _ in range(3):
            persist(lambda: self.session.ask("events", "events.publish", body))

    def pulled(self) -> None:
        """Fetch an image, look it up, and take all of it away again."""
        image = self.chance.choice(self.scene.images)
        persist(lambda: pull(self.session, image.name, quiet=True))
        wish = {"namespace": "c", "name": image.name}
        persist(lambda: self.session.ask("metadata", "images.get", wish))
        if self.chance.random() < 0.7:
            self.scene.forget(self.session, image)

    # Steps

    def make(
        self,
        code: int,
        lines: int,
        *,
        wanted: str,
        network: dict[str, Any] | None = None,
        pause: int = 1,
        leaves: bool = False,
    ) -> Run:
        """Create a container; without `network` it has loopback only; `pause` as for `ticking`.

        `leaves`: it removes itself.
        """
        self._serial += 1
        identity = self.chance.randbytes(32).hex()
        name = f"w{self.number}-{self._serial}"
        began = self.findings.now()
        run = self.runs.add(Run(identity, name, code, lines, began, may_end=bool(lines)))
        self._mine = [*(one for one in self._mine if not one.over), run]
        script = counting(lines, code) if lines else ticking(code, pause)
        options = {"args": ["sh", "-c", script], "network": network or {}}
        create(self.session, self.scene.busybox, run, options, wanted, leaves=leaves)
        return run

    def learn_init(self, run: Run) -> None:
        """Ask until it runs."""
        until = time.monotonic() + PERSIST
        while not run.init[0]:
            state = persist(lambda: self.session.ask(run.actor, "tasks.state", {}))
            if state["phase"] == "running":
                run.init = pid_and_start(state["pid"])
            elif state["phase"] in ("exited", "created") and (state["error"] or state["phase"] == "exited"):
                excused = self.findings.excuses(_cause("", state["error"]), run.began, self.findings.now())
                text = f"{run.name} did not come to run: {state['phase']} {state['error']}"
                self.findings.check(EXPECTED, excused, text)
                return
            elif self.findings.was_unheard(self.findings.now(), self.findings.now()):
                until = max(until, time.monotonic() + PERSIST)
                time.sleep(0.02)
            elif time.monotonic() > until:
                self.findings.check(EXPECTED, holds=False, text=f"{run.name} is still {state['phase']}")
                return
            else:
                time.sleep(0.02)

    def execute(self, run: Run) -> None:
        """One more process in it, which leaves a mark; asked for twice with the same id."""
        mark, lines, code = (
            self.chance.randbytes(8).hex(),
            self.chance.randint(0, 500),
            self.chance.randint(0, 99),
        )
        script = f"echo {mark} >> /dev/shm/marks; {counting(lines, code)}"
        body = {"exec_id": mark, "args": ["sh", "-c", script]}
        run.marks.append(mark)
        began = self.findings.now()
        try:
            for _ in range(2):
                persist(lambda: self.session.ask(run.actor, "tasks.exec", body, limit=EXIT_LIMIT))
        except RefusedError as error:
            if "cut off" not in str(error):
                raise
            self.findings.note("an exec's start was cut off by a crash")
            return
        self.follow_exec(run, mark, lines, code, began)

    def follow_exec(self, run: Run, mark: str, lines: int, code: int, began: float) -> None:
        """Its output and its end."""
        printed = bytearray()
        output = Output(self.session, run.actor, mark)
        answer = persist(lambda: output.copy(lambda _stream, _at, piece: printed.extend(piece), follow=True))
        unwatched = self.findings.was_unwatched(run.id, began)
        self.expect.output(f"exec {mark} in {run.name}", lines, bytes(printed), unwatched=unwatched)
        found = answer.get("exit_code")
        right = found == code or (found is None and unwatched)
        text = f"exec {mark} in {run.name}: {found} instead of {code} (asked at {began:.1f} s)"
        self.findings.check(CODE, right, text)

    def look_at_marks(self, run: Run) -> None:
        """No exec has run twice."""
        mark = self.chance.randbytes(8).hex()
        printed = bytearray()
        body = {"exec_id": mark, "args": ["sh", "-c", "cat /dev/shm/marks || true"]}
        try:
            persist(lambda: self.session.ask(run.actor, "tasks.exec", body, limit=EXIT_LIMIT))
        except RefusedError as error:
            if "cut off" not in str(error):
                raise
            return
        output = Output(self.session, run.actor, mark)
        persist(lambda: output.copy(lambda _stream, _at, piece: printed.extend(piece), follow=True))
        found = printed.decode(errors="replace").split()
        for one in run.marks:
            self.findings.check(
                KEYED, found.count(one) <= 1, f"exec {one} ran {found.count(one)} times in {run.name}"
            )

    def signal(self, run: Run) -> None:
        """SIGKILL, until one has arrived."""
        try:
            persist(lambda: self.session.ask(run.actor, "tasks.kill", {"signal": 9}))
        except RefusedError as error:
            if error.code != "failed_precondition":  # it has ended: an earlier one arrived
                raise

    def finish(self, run: Run, *, stop: bool = False) -> None:
        """Bring a container to its end, check all that is known of it, and remove it."""
        if stop:
            run.may_end = True
            self.touch_stop(run)
        answer = self.expect.followed(run)
        self.expect.exit(run, answer)
        self.expect.record(run)
        run.ended = True
        self.remove(run)
        run.over = True

    def remove(self, run: Run) -> None:
        """Until it is gone, be it by an attempt of which the answer did not come in time."""
        try:
            persist(lambda: remove_container(self.session, run.id, force=True))
        except RefusedError as error:
            if error.code != "not_found":
                raise

    def touch_stop(self, run: Run) -> None:
        """Have it end."""
        while True:
            body = {"exec_id": self.chance.randbytes(8).hex(), "args": ["touch", STOP]}
            ask = partial(self.session.ask, run.actor, "tasks.exec", body, limit=EXIT_LIMIT)
            try:
                persist(ask)
            except RefusedError as error:
                if "cut off" in str(error):
                    continue
                if not any(words in str(error) for words in ENDED):  # an earlier one arrived
                    raise
            return

    def wait_until_asleep(self, run: Run) -> None:
        """Nobody asks it for anything meanwhile."""
        until = time.monotonic() + SLEEP_LIMIT
        while (actors := self.scene.actors(self.session)).get(run.actor, {}).get("state") != "asleep":
            if _has_outlived(actors, run.actor):
                self.findings.note("before Linux 6.15 an actor that has outlived its zygote stays awake")
                return
            if time.monotonic() > until:
                self.findings.check(EXPECTED, holds=False, text=f"the actor of {run.name} does not sleep")
                return
            time.sleep(0.02)

    def end_unseen(self, run: Run) -> None:
        """Have it end, past its actor."""
        with contextlib.suppress(OSError):  # it has ended
            Path(f"/proc/{run.init[0]}/root{STOP}").touch()


def _has_outlived(actors: dict[str, Any], name: str) -> bool:
    """Whether it stays awake, since its process would be a stranger's child of which no kernel tells."""
    pid = actors.get(name, {}).get("pid", 0)
    with contextlib.suppress(ProcessLookupError):
        return not tells_exits() and pid > 0 and parent(pid) != actors["zygote"]["pid"]
    return False


def _name(scenario: Callable[[], None]) -> str:
    return getattr(scenario, "__name__", "a standing container")


def _cause(code: str, text: str) -> str:
    """The code of an error, or of the one that it passes on."""
    return "deadline_exceeded" if LATE in text else code
