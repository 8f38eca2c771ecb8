"""The processes of one container, as its actor sees them: calls of the runtime, exits, strays.

An exit code is looked for with whoever can know it: the kernel for our own children, the zygote for those
that came to it when an actor died, and the pidfd for a process whose parent is a stranger.
"""

import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors import failpoints
from actors.lifeline import ExitFound
from actors.linux import cgroups, descriptors, pidfd, pinning, process
from actors.linux.pidfd import Process
from actors.runtime import bundle as files
from actors.runtime.launch import Steps
from actors.tracing import bound
from actors.zygote.exits import last_of
from actors.zygote.strangers import shelf

if TYPE_CHECKING:
    from actors.container import ContainerActor

EXIT_TRIES, EXIT_PAUSE = 60, 0.05  # how often, and seconds apart, a stranger's child is asked about
ALONE_PAUSE = 0.5  # seconds, while there is no zygote to ask


class Processes:
    """Used in the actor's thread."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._calls = 0  # of the runtime, under way
        self._parent = os.getppid()
        self._held: dict[Process, int] = {}
        self._watched: dict[Process, int] = {}

    def is_idle(self) -> bool:
        """Whether no call of the runtime is under way, and what ends is seen, whoever its parent is by then.

        One that has outlived its zygote would leave its process to a stranger. How that ends, only a newer
        kernel tells then (Linux 6.15).
        """
        own = os.getppid() == self._parent
        return not self._calls and (own or pidfd.tells_exits())

    def run_runtime(self, function: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Run a call of the runtime in a worker thread; zombies that nobody knows may be its result."""
        self._calls += 1

        def finished(result: Any) -> None:
            self._calls -= 1
            then(result)
            self.reap_strays()

        self._actor.work(function, finished)

    def follow_runtime(self, steps: Steps[Any], then: Callable[[Any], None]) -> None:
        """As `run_runtime`, without a thread: each step is taken here, as soon as its process has ended."""
        self._calls += 1
        self._step(steps, None, then)

    def _step(self, steps: Steps[Any], status: int | None, then: Callable[[Any], None]) -> None:
        result: Any
        try:
            pid = next(steps) if status is None else steps.send(status)
        except StopIteration as end:
            result = end.value
        except Exception as error:  # noqa: BLE001  # it is handed to whoever wanted the call
            result = error
        else:
            self._when_ended(pid, lambda: self._step(steps, os.waitpid(pid, 0)[1], then))
            return
        self._calls -= 1
        then(result)
        self.reap_strays()

    def _when_ended(self, pid: int, then: Callable[[], None]) -> None:
        """Call `then` once a child that nobody else waits for has ended."""
        descriptor, pump = pidfd.open_pidfd(pid), self._actor.host.pump
        with_cause = bound(then)

        def readable() -> None:
            pump.unwatch(descriptor)
            os.close(descriptor)
            self._actor.soon(with_cause)

        pump.call(lambda: pump.watch(descriptor, readable))

    def hold(self, target: Process) -> None:
        """Keep hold of a process that will be watched later: then nobody can take its exit status away."""
        if (found := self._open(target)) is not None:
            self._held[target] = found

    def wait_briefly(self, target: Process, seconds: float, then: Callable[[], None]) -> None:
        """Hold it, and call `then` once it has ended, or after this time."""
        self.hold(target)
        descriptor = self._held.get(target, -1)
        if descriptor < 0 or process.peek_child(target.pid) is not None:
            then()
            return
        pump, with_cause, waiting = self._actor.host.pump, bound(then), [descriptor]

        def over() -> None:
            if waiting:
                pump.unwatch(waiting.pop())
                self._actor.soon(with_cause)

        pump.call(lambda: pump.watch(descriptor, over))
        pump.call_later(seconds, over)

    def _open(self, target: Process) -> int | None:
        """Also one that has been reaped by a stranger while nobody of us lived."""
        try:
            return target.open()
        except ProcessLookupError:
            return pinning.open_pinned(self._pin(target))

    def _pin(self, target: Process) -> Path:
        return self._actor.bundle / files.PINS / f"{target.pid}-{target.start_time}"

    def of_pid(self, pid: int) -> Process:
        """What has, or had, a pid that the runtime wrote down; with start time 0 if nobody knows any more.

        Whose it was may have ended since, and the pid be another's, who runs elsewhere and is left alone.
        """
        with contextlib.suppress(ProcessLookupError):
            found = Process.of(pid)
            if pid in self._members() or not found.is_running():  # how a zombie ended may be what we want
                return found
        return last_of(pid, self._actor.settings.exits) or Process(pid, 0)

    def _members(self) -> set[int]:
        return cgroups.processes(cgroups.mounted(), files.actual_cgroups_path(self._actor.bundle))

    def let_go(self) -> None:
        """Of those that nobody came to watch."""
        descriptors.close_all(self._held.values())
        self._held.clear()

    def when_exited(self, target: Process, then: ExitFound) -> bool:
        """Call `then` with exit code (None: nobody can know) and time when the process has ended.

        Until `then` has returned, and so has journalled the exit, it can be found again: our own child stays
        a zombie, and the zygote keeps what it has. Returns whether the process has ended already, as our
        child: then nobody has to watch it, and `then` is called next.
        """
        descriptor = self._held.pop(target) if target in self._held else self._open(target)
        if descriptor is None:
            self._actor.host.lifeline.fetch(shelf(target), partial(self._fetched, target, then))
        elif process.peek_child(target.pid) is not None:
            self._actor.soon(lambda: self._find_exit(target, descriptor, then, EXIT_TRIES))
            return True
        else:
            self._watch(target, descriptor, then)
        return False

    def _fetched(self, target: Process, then: ExitFound, found: list[int]) -> None:
        """What an earlier incarnation had open tells the exit also when a stranger has reaped it."""
        if found:
            self._actor.soon(lambda: self._watch(target, found[0], then))
        else:
            self._actor.soon(lambda: self._find_exit(target, -1, then, 0))

    def keep_all(self) -> None:
        """Another zygote: it has not got any of them."""
        for target, descriptor in list(self._watched.items()):
            self._keep(target, descriptor)

    def _keep(self, target: Process, descriptor: int) -> None:
        self._actor.host.say([descriptor], op="keep", key=shelf(target))

    def _watch(self, target: Process, descriptor: int, then: ExitFound) -> None:
        """The zygote keeps it open too: when we die, the process may become the child of a stranger.

        And it is pinned, should all of us die.
        """
        self._watched[target] = descriptor
        self._keep(target, descriptor)
        with contextlib.suppress(OSError):  # on an older kernel it goes without
            pinning.pin(descriptor, self._pin(target))

        def readable() -> None:
            self._actor.host.pump.unwatch(descriptor)
            self._actor.soon(lambda: self._find_exit(target, descriptor, then, EXIT_TRIES))

        self._actor.host.pump.call(lambda: self._actor.host.pump.watch(descriptor, readable))

    def _find_exit(self, target: Process, descriptor: int, then: ExitFound, tries: int) -> None:
        """Ask whoever can know. A stranger's child tells the kernel only once its parent has reaped it."""
        status, at = process.peek_child(target.pid), time.time_ns()
        if status is None:
            asked = partial(self._asked_for_exit, target, descriptor, then, tries)
            self._actor.host.lifeline.exit_of(target, lambda *found: self._actor.soon(partial(asked, *found)))
        else:
            self._found_exit(target, descriptor, then, status, at)

    def _asked_for_exit(
        self, target: Process, descriptor: int, then: ExitFound, tries: int, status: int | None, at: int
    ) -> None:
        if status is None and descriptor >= 0:
            status, at = pidfd.exit_status(descriptor), time.time_ns()
        if status is None and self._actor.host.lifeline.alone:  # the next zygote may know, and nobody waits
            self._actor.later(ALONE_PAUSE, lambda: self._find_exit(target, descriptor, then, tries))
            return
        if status is None and tries:
            self._actor.later(EXIT_PAUSE, lambda: self._find_exit(target, descriptor, then, tries - 1))
            return
        self._found_exit(target, descriptor, then, status, at)

    def _found_exit(
        self, target: Process, descriptor: int, then: ExitFound, status: int | None, at: int
    ) -> None:
        """Journalled by `then`; after that, whoever keeps it lets go of it: the kernel, or the zygote."""
        failpoints.hit("container", "exit", "found")
        then(None if status is None else process.exit_code(status), at or time.time_ns())
        failpoints.hit("container", "exit", "taken")
        ours = process.reap(target.pid) is not None
        pinning.unpin(self._pin(target))
        if self._watched.pop(target, -1) >= 0:
            self._actor.host.say(op="drop", key=shelf(target))
        if descriptor >= 0:
            os.close(descriptor)
        if not ours:
            self._actor.host.say(op="exit_taken", pid=target.pid, start=target.start_time)
        self.reap_strays()  # those behind it in the queue of zombies

    def reap_strays(self) -> None:
        """Reap orphans that came to us. Those we watch, and those of a call under way, have their own way."""
        while not self._calls and (found := process.peek_children()) is not None:
            held = any(one.pid == found[0] for one in self._held)
            if held or self._actor.is_watched(found[0]):
                return
            process.reap(found[0])


def signal_process(target: Process, number: int) -> None:
    """Send a signal to exactly this process; one that has ended is fine."""
    try:
        descriptor = target.open()
    except ProcessLookupError:
        return
    try:
        pidfd.send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
