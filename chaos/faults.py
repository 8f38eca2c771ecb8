"""Carries out a fault: picks the processes, hurts them, takes back in time what does not end by itself."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from actors.messages import OPERATIONS
from chaos import groups, processes
from chaos.disks import FailingCalls
from chaos.findings import Struck, Window
from chaos.probing import Recovery
from chaos.schedule import BY_FAILPOINT, STATIC
from cli.session import RefusedError
from transport.client import NotRunningError

if TYPE_CHECKING:
    from chaos.processes import Seen
    from chaos.runs import Run
    from chaos.scene import Scene
    from chaos.schedule import Fault

ASK = 3.0  # seconds for an answer about failpoints
AWAITED = 2.0  # seconds for a victim to have a process
DEATH = 10.0  # seconds for a killed process to be gone
TOLD = 45.0  # seconds until all who waited for an answer that was dropped have been told that it is late
AFTERMATH = 1.0  # seconds after a shortage in which one hears of what was refused


class Nemesis:
    """Strikes one scene. What it starts (timers, watches) is joined by `settle`."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._findings = scene, scene.findings
        self._session = scene.session()
        self._threads: list[threading.Thread] = []
        self.revived = 0
        self._targeted: dict[str, Callable[[Fault, Seen, Struck], None]] = {
            "kill": self._kill,
            "pause": self._pause,
            "freeze": self._freeze,
            "descriptors": self._starve_descriptors,
            "memory": self._starve_memory,
            "disk": self._fail_calls,
            **dict.fromkeys(BY_FAILPOINT, self._set_failpoint),
        }
        self._whole: dict[str, Callable[[Struck], None]] = {
            "zygote": self._kill_zygote,
            "everything": self._kill_everything,
            "restart": self._restart,
        }
        self._machine: dict[str, Callable[[Fault, Struck], None]] = {"full": self._fill}

    def strike(self, step: int, fault: Fault) -> Struck | None:
        """Do it; None when there is nothing of that kind right now."""
        now = self._findings.now()
        if fault.kind in self._whole:
            struck = Struck(step, fault.kind, fault.kind, now)
            self._findings.struck.append(struck)
            self._whole[fault.kind](struck)
            return struck
        if fault.kind in self._machine:
            struck = Struck(step, fault.kind, "disk", now, fault.seconds)
            self._findings.struck.append(struck)
            self._machine[fault.kind](fault, struck)
            return struck
        until = time.monotonic() + AWAITED
        while (victim := self._pick(fault)) is None:  # it is only just coming back
            if time.monotonic() > until:
                return None
            time.sleep(0.02)
        name, seen = victim
        struck = Struck(step, fault.kind, name, now, fault.seconds)
        try:
            self._targeted[fault.kind](fault, seen, struck)
        except OSError as error:
            self._findings.note(f"a fault could not be carried out: {fault.kind}: {error.strerror}")
            return None
        self._findings.struck.append(struck)
        return struck

    def settle(self) -> None:
        """Wait until what lasts is over and everybody is back, or has been given up."""
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def close(self) -> None:
        """Close the connection: it would count as a leak of the router's."""
        self._session.close()

    def _pick(self, fault: Fault) -> tuple[str, Seen] | None:
        """The victim: its full name and its process; where two claim a name, the one of the lower pid."""
        found_ones = sorted(self._scene.processes(), key=lambda one: -one.pid)
        living = {one.comm: one for one in found_ones}
        if keeper := processes.keeper(self._scene.state):
            living["keeper"] = keeper
        if fault.target == "container":
            names = sorted(run.actor for run in self._scene.runs.open())
        elif fault.target == "puller":
            names = sorted(name for name in living if name.startswith("puller/"))
        else:
            names = [fault.target]
        found = [(name, living[comm]) for name in names if (comm := processes.comm_of(name)) in living]
        if not found and fault.target in ("container", "puller", "keeper"):  # none right now: another victim
            found = [(name, living[name]) for name in STATIC if name in living]
        return found[int(fault.pick * len(found))] if found else None

    # Faults of one actor

    def _kill(self, _fault: Fault, seen: Seen, struck: Struck) -> None:
        pidfd = _open(seen)
        if pidfd < 0:
            return
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self._watch(struck, pidfd)

    def _watch(self, struck: Struck, pidfd: int = -1) -> None:
        # A puller's name is cut short, and it may have done its work; the keeper is no actor.
        if struck.actor.startswith(("puller/", "keeper")):
            if pidfd >= 0:
                os.close(pidfd)
            return
        recovery = Recovery(self._scene.socket, self._findings, struck, pidfd)
        recovery.start()
        self._threads.append(recovery)

    def _pause(self, fault: Fault, seen: Seen, _struck: Struck) -> None:
        pidfd = _open(seen)
        if pidfd < 0:
            return
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)

        def go_on() -> None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGCONT)
            os.close(pidfd)

        self._later(fault.seconds, go_on)

    def _freeze(self, fault: Fault, seen: Seen, _struck: Struck) -> None:
        with contextlib.suppress(ProcessLookupError):
            frozen = groups.Frozen(seen.pid)
            self._later(fault.seconds, frozen.end)

    def _starve_descriptors(self, fault: Fault, seen: Seen, struck: Struck) -> None:
        """No further descriptor for a while."""
        with contextlib.suppress(ProcessLookupError):
            before = resource.prlimit(seen.pid, resource.RLIMIT_NOFILE)
            limit = processes.free_descriptor(seen.pid)
            resource.prlimit(seen.pid, resource.RLIMIT_NOFILE, (limit, before[1]))

            def restore() -> None:
                if processes.runs(seen.pid, seen.start):
                    resource.prlimit(seen.pid, resource.RLIMIT_NOFILE, before)

            self._starve(fault.seconds, struck, restore)

    def _starve_memory(self, _fault: Fault, seen: Seen, struck: Struck) -> None:
        """No further page: the kernel kills it as soon as it wants one."""
        with contextlib.suppress(ProcessLookupError):
            limited = groups.Limited(seen.pid)
            self._starve(0.5, struck, limited.end)

    def _fill(self, fault: Fault, struck: Struck) -> None:
        """Not a block left on the disk with the daemon's durable state."""
        disk = self._scene.disk
        if disk is not None:
            disk.fill()
            self._starve(fault.seconds, struck, disk.free)

    def _fail_calls(self, fault: Fault, seen: Seen, struck: Struck) -> None:
        """The disk answers this store with errors."""
        self._starve(fault.seconds, struck, FailingCalls(seen.pid).end)

    def _set_failpoint(self, fault: Fault, _seen: Seen, struck: Struck) -> None:
        """At a place that it has passed before, something goes wrong the next time, if that is soon."""
        actor = struck.actor
        try:
            found = self._session.ask(actor, "failpoints.list", {}, limit=ASK)["points"]
            names = _places(fault.kind, found)
            if not names:
                return
            name = names[int(fault.pick * len(names))]
            self._session.ask(actor, "failpoints.set", {"name": name, "action": fault.detail}, limit=ASK)
        except (RefusedError, NotRunningError):  # it is only just coming, or has gone
            return
        struck.detail = f"{name}={fault.detail}"

        def off() -> None:
            session = self._scene.session()
            with contextlib.suppress(RefusedError, NotRunningError):
                session.ask(actor, "failpoints.set", {"name": name, "action": "off"}, limit=ASK)
            session.close()

        if fault.detail.startswith("error"):
            self._starve(fault.seconds, struck, off)
        else:
            self._later(fault.seconds, off)
        if fault.kind == "drop":
            self._findings.unheard.append(Window(struck.at, self._findings.now() + fault.seconds + TOLD))

    def _starve(self, seconds: float, struck: Struck, end: Callable[[], None]) -> None:
        window = Window(struck.at)
        self._findings.starved.append(window)

        def over() -> None:
            end()
            window.ended = self._findings.now() + AFTERMATH

        self._later(seconds, over)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, act)
        timer.start()
        self._threads.append(timer)

    # Faults of the whole daemon

    def _kill_zygote(self, struck: Struck) -> None:
        """The zygote alone; its children but the container actors end with it.

        Nothing may be lost of those that sleep: the keeper has what is theirs.
        """
        process = self._scene.daemon.process
        if process is None:
            return
        before, asleep = self._unended(), self._asleep()
        process.kill()
        process.wait(DEATH)
        self._come_back(struck, self._orphans(before) - asleep)

    def _asleep(self) -> set[str]:
        states = self._scene.actors(self._session)
        return {run.id for run in self._unended() if states.get(run.actor, {}).get("state") == "asleep"}

    def _kill_everything(self, struck: Struck) -> None:
        before = self._unended()
        self._scene.daemon.kill_everything()
        self._come_back(struck, self._orphans(before))

    def _restart(self, struck: Struck) -> None:
        """Stop in order, start again."""
        before = self._unended()
        code = self._scene.daemon.stop()
        self._findings.check("an orderly stop ends with 0", code == 0, f"the daemon ended with {code}")
        self._come_back(struck, self._orphans(before))

    @contextlib.contextmanager
    def reviving(self) -> Iterator[None]:
        """A zygote that dies within the block is started again; `revived` counts that."""
        over = threading.Event()
        thread = threading.Thread(target=self._revive_until, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _revive_until(self, over: threading.Event) -> None:
        while not over.wait(0.02):
            process = self._scene.daemon.process
            if process is None or process.poll() is None:
                continue
            self.revived += 1
            struck = Struck(self._findings.step, "zygote", "zygote", self._findings.now())
            self._come_back(struck, self._orphans([]))

    def _unended(self) -> list[Run]:
        return [run for run in self._scene.runs.open() if not run.ended]

    def _orphans(self, before: list[Run]) -> set[str]:
        """Containers without an actor, now that the zygote is gone; some came to be while it went."""
        survivors = {one.comm for one in self._scene.processes()}
        everyone = [*before, *self._unended()]
        return {run.id for run in everyone if processes.comm_of(run.actor) not in survivors}

    def _come_back(self, struck: Struck, unwatched: set[str]) -> None:
        """Start the daemon; who has no actor meanwhile, and ended, may end unknown."""
        window = Window(struck.at, containers=set(unwatched))
        self._findings.unwatched.append(window)
        self._scene.restart()
        struck.recovered = self._findings.now() - struck.at
        for run in self._scene.runs.every():
            if run.init[0] and processes.runs(*run.init):
                window.alive.add(run.id)
        window.ended = self._findings.now()


def _open(seen: Seen) -> int:
    """A pidfd of exactly that process; -1 when it is gone."""
    try:
        pidfd = os.pidfd_open(seen.pid)
    except ProcessLookupError:
        return -1
    if not processes.runs(seen.pid, seen.start):
        os.close(pidfd)
        return -1
    return pidfd


def _places(kind: str, passed: list[dict[str, Any]]) -> list[str]:
    """Where a fault of that kind may happen, of the places that an actor has passed.

    An answer is not dropped where only a deadline could tell, and there is none: at the end of a stream. Nor
    are those to the runner's own questions.
    """
    names = sorted(one["name"] for one in passed if ".failpoints" not in one["name"])
    replies = [name for name in names if name.endswith(".reply") and "introspection" not in name]
    match kind:
        case "drop":
            return [name for name in replies if not _streams(name)]
        case "double":
            return replies
        case "clock":  # soon, that is where it comes by most often
            most = max((one["passed"] for one in passed if one["name"] in names), default=0)
            return [one["name"] for one in passed if one["passed"] == most and one["name"] in names]
        case _:
            return names


def _streams(place: str) -> bool:
    operation = OPERATIONS.get(place.partition(".")[2].removesuffix(".reply"))
    return operation is None or operation.streams
