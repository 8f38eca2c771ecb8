"""Health: runs a container's own check now and then, and says whether it is well.

A check is an exec like any other, only without events of its own. So many failures in a row make the
container unhealthy; where a restart policy stands, it is then ended, and the policy starts it again.
Journalled beside the container's state: a new incarnation goes on counting where the last one was.
"""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from actors.linux.pidfd import Process
from actors.messages import TasksExec
from actors.runtime import bundle as files
from actors.runtime.output import STDERR, STDOUT, Reader
from actors.runtime.wishes import HealthWish

if TYPE_CHECKING:
    from actors.container import ContainerActor

PREFIX = "health-"
KEPT = 5  # results
MOST_OUTPUT = 4096  # bytes of a check's output
LEAST_INTERVAL = 0.05  # seconds
Status = Literal["", "starting", "healthy", "unhealthy"]


@dataclass(slots=True)
class Record:
    """What is journalled: of which run, the failures in a row, how many checks, the last results."""

    run: int = 0
    status: Status = ""
    failures: int = 0
    checks: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)


def judge(record: Record, wish: HealthWish, *, well: bool, since_start: float) -> Record:
    """What one more result makes of a record. Pure."""
    if well:
        return Record(record.run, "healthy", 0, record.checks, record.results)
    if record.status == "starting" and since_start < wish.start_period:
        return record
    failures = record.failures + 1
    status: Status = "unhealthy" if failures >= max(1, wish.retries) else record.status
    return Record(record.run, status, failures, record.checks, record.results)


class Health:
    """Used in the actor's thread."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._wish: HealthWish | None = None
        self.record = Record()

    @property
    def status(self) -> Status:
        """Empty without a check."""
        return self.record.status

    def is_idle(self) -> bool:
        """Whether it has nothing to check."""
        return self._wish is None or self._actor.state.phase != "running"

    def to_journal(self) -> dict[str, Any]:
        """Plain form."""
        plain: dict[str, Any] = msgspec.to_builtins(self.record)
        return plain

    def from_journal(self, plain: dict[str, Any]) -> None:
        """Read it back."""
        self.record = msgspec.convert(plain, Record)

    def begin(self) -> None:
        """It runs: look after it from now on, if that is wanted."""
        self._wish = files.read_health(self._actor.bundle)
        run = self._actor.state.run
        if self.record.run != run or self._wish is None:
            self.record = Record(run, "starting" if self._wish else "")
        under_way = f"{PREFIX}{run}-{self.record.checks}"  # since before our predecessor died
        if self._wish is not None and self._actor.execs.is_under_way(under_way):
            self._limit(under_way, self._wish)
        elif self._wish is not None:
            self._schedule(run)

    def _schedule(self, run: int) -> None:
        wish = self._wish
        if wish is not None:
            self._actor.later(max(wish.interval, LEAST_INTERVAL), lambda: self._check(run))

    def _check(self, run: int) -> None:
        wish = self._wish
        if wish is None or run != self._actor.state.run or self._actor.state.phase != "running":
            return
        if self._stands_still():
            self._schedule(run)
            return
        self.record.checks += 1
        name = f"{PREFIX}{run}-{self.record.checks}"
        self._actor.execs.start(TasksExec(name, list(wish.test)), None)
        self._limit(name, wish)

    def _limit(self, name: str, wish: HealthWish) -> None:
        """The next check begins when this one has ended."""
        self._actor.later(wish.timeout, lambda: self._overdue(name, wish))

    def _stands_still(self) -> bool:
        """Whether nothing in the container can get on: paused by a person, or frozen for a commit."""
        return self._actor.state.paused or not self._actor.freezing.is_idle()

    def _overdue(self, name: str, wish: HealthWish) -> None:
        """Killed as soon as it has a process: its start may have taken longer than that.

        What stands still is not late: it has its time once more.
        """
        execs = self._actor.execs
        if self._stands_still() and execs.is_under_way(name):
            self._limit(name, wish)
        elif execs.is_under_way(name) and execs.phase(name) == "starting":
            self._actor.later(LEAST_INTERVAL, lambda: self._overdue(name, wish))
        else:
            execs.kill_if_running(name)

    def ended(self, name: str, code: int | None) -> None:
        """One of our execs is over."""
        wish, state = self._wish, self._actor.state
        if wish is not None and name.startswith(f"{PREFIX}{state.run}-") and state.phase == "running":
            since_start = Process(state.pid, state.start_time).age()  # the clock of the wall may be set
            before = self.record.status
            self.record.results = [*self.record.results, self._result(name, code)][-KEPT:]
            self.record = judge(self.record, wish, well=code == 0, since_start=since_start)
            if self.record.status != before:
                self._changed()
            self._schedule(state.run)
        self._actor.execs.delete(name)

    def _result(self, name: str, code: int | None) -> dict[str, Any]:
        reader = Reader(self._actor.streams.files(name), {STDOUT: 0, STDERR: 0})
        try:
            found = reader.next(MOST_OUTPUT)
        finally:
            reader.close()
        output = found[1].decode(errors="replace") if found else ""
        return {"at": time.time_ns(), "exit_code": code, "output": output}

    def _changed(self) -> None:
        actor, status = self._actor, self.record.status
        actor.log.info("container is %s", status)
        actor.reports.report()
        key = f"{actor.state.started_at}:{self.record.checks}"
        actor.reports.announce("/tasks/health", key, time.time_ns(), id=actor.id, status=status)
        if status == "unhealthy" and actor.state.policy != "no":
            actor.control.end("unhealthy")
