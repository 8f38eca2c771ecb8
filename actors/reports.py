"""What a container's actor tells others: the state of its task to metadata, what happened to events.

Each is said until it has been heard, and each can be said twice without harm: a report carries a growing
revision, an event a key.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from actors import lifecycle as life
from actors import messages as m
from actors.actor import ASK_LIMIT
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

LIMIT = 600  # seconds that something is said again which nobody waits for


class Reports:
    """Used in the actor's thread."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._revision = 0
        self._ending: int | None = None  # the run whose end is being told, or has been
        self._told_end = self._end_wanted = False
        self._heard: dict[str, str] = {}  # by topic, the key of the last event that has been heard
        self._durable: Callable[[], None] = _nothing  # called once the end is
        self._final = False

    def to_journal(self) -> dict[str, str]:
        """Plain form. Each incarnation tells once more what it does not know to have been heard."""
        return self._heard

    def from_journal(self, plain: dict[str, str]) -> None:
        """Read it back."""
        self._heard = dict(plain)

    def report(self) -> None:
        """The task, to metadata."""
        if not self._actor.retires_at_once():
            self._actor.ask(self._task(), self._told)

    def _task(self, *, final: bool = False) -> m.TasksRecord:
        state = self._actor.state
        running: m.TaskStatus = "created" if state.held else "paused" if state.paused else "running"
        statuses: dict[str, m.TaskStatus] = {"running": running, "exited": "stopped"}
        return m.TasksRecord(
            namespace=self._actor.namespace,
            id=self._actor.id,
            revision=self._next_revision(),
            status=statuses.get(state.phase, "created"),
            pid=state.pid if state.phase == "running" else 0,
            started_at=state.started_at,
            exited_at=state.exited_at,
            exit_code=state.exit_code if state.phase == "exited" and state.known else None,
            exit_reason=life.exit_reason(state),
            oom=state.oom,
            error=state.error,
            health=self._actor.health.status if state.phase == "running" else "",
            restarts=state.restarts,
            final=final,
        )

    def _next_revision(self) -> int:
        """Greater than every one before, also those of our predecessors, whatever the clock says."""
        known = (self._actor.record["task"] or {}).get("revision", 0)
        self._revision = max(time.time_ns(), known + 1, self._revision + 1)
        return self._revision

    def _told(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._actor.log.warning("not told: %s", result)

    def announce(self, topic: str, key: str, at: int, **body: Any) -> None:
        """Publish an event about this container, once for each `key`."""
        self._publish([self._event(topic, key, at, **body)], self._told, LIMIT)

    def _announce_once(self, event: m.NewEvent) -> None:
        """What each incarnation would tell. The journal of events knows a key as long as it has the event."""
        if self._heard.get(event.topic) != event.key:
            self._publish([event], partial(self._heard_of, event), LIMIT)

    def _heard_of(self, event: m.NewEvent, result: Any) -> None:
        """Or never will be."""
        self._told(result)
        if not isinstance(result, Exception):
            self._heard[event.topic] = event.key

    def _event(self, topic: str, key: str, at: int, **body: Any) -> m.NewEvent:
        actor = self._actor
        full = f"{topic}:{actor.namespace}:{actor.id}:{key}"
        return m.NewEvent(topic, full, {"container_id": actor.id, **body}, at)

    def _publish(self, events: list[m.NewEvent], then: Callable[[Any], None], limit: float) -> None:
        """All with one commit, in this order."""
        first, *further = events
        publish = m.EventsPublish(
            self._actor.namespace, first.topic, first.key, first.body, first.at, further
        )
        self._actor.ask(publish, then, limit=limit)

    def announce_create(self) -> None:
        """The event of a process that is made, and held."""
        state = self._actor.state
        bundle, io = str(self._actor.bundle), self._actor.stepwise.io()
        key = f"{state.pid}:{state.start_time}"
        about = {"bundle": bundle, "io": io, "pid": state.pid}
        self._announce_once(self._event("/tasks/create", key, state.started_at, **about))

    def announce_delete(self, state: life.State) -> None:
        """The event of a run that its client has taken note of."""
        status = state.exit_code if state.known else None
        self.announce(
            "/tasks/delete",
            f"{state.pid}:{state.start_time}:{state.run}",
            time.time_ns(),
            pid=state.pid,
            exit_status=status,
            exited_at=state.exited_at,
        )

    def announce_start(self) -> None:
        """The event of the start."""
        if not self._actor.retires_at_once():
            self._announce_once(self._start())

    def _start(self) -> m.NewEvent:
        state = self._actor.state
        return self._event("/tasks/start", self._run_key(), state.started_at, pid=state.pid)

    def announce_turn(self) -> None:
        """The event of processes that stand still, or go on."""
        state = self._actor.state
        topic = "/tasks/paused" if state.stands else "/tasks/resumed"
        self._announce_once(self._event(topic, str(state.turned_at), state.turned_at))

    def _run_key(self) -> str:
        """Names the run for good; its number alone begins anew with each reboot."""
        return f"{self._actor.state.started_at or self._actor.state.run}:{self._actor.record['created_at']}"

    def settle(self) -> None:
        """The end of the run, first durable, then announced -> Settled."""
        self.begin_to_settle()
        self._end_wanted = True
        self._settled_if_told()

    def begin_to_settle(self, durable: Callable[[], None] | None = None, *, final: bool = False) -> None:
        """As `settle`, while other things are still under way: Settled comes only after that.

        `durable` is called when the end is; `final`: it is recorded as such.
        """
        if self._ending != self._actor.state.run:
            self._durable, self._final = durable or _nothing, final
            self._ending = self._actor.state.run
            self._told_end = self._end_wanted = False
            self._tell_end()

    def _tell_end(self) -> None:
        self._actor.ask(self._task(final=self._final), self._announce_exit)

    def _settled_if_told(self) -> None:
        if self._told_end and self._end_wanted:
            self._ending, self._end_wanted = None, False
            self._actor.soon(lambda: self._actor.happened(life.Settled()))

    def _announce_exit(self, result: Any) -> None:
        if self._again(result):
            return
        durable, self._durable = self._durable, _nothing
        durable()
        self._announce_end()

    def announce_oom(self, at: int) -> None:
        """The event of a process that was killed for want of memory, once for each run."""
        if not self._actor.retires_at_once():  # else it would come before the start
            self._announce_once(self._oom(at))

    def _oom(self, at: int) -> m.NewEvent:
        return self._event("/tasks/oom", self._run_key(), at, id=self._actor.id)

    def announce_restart(self, pause: float) -> None:
        """The event of a start that the policy will make."""
        state = self._actor.state
        status = state.exit_code if state.known else None
        self.announce(
            "/tasks/restart",
            f"{self._run_key()}:{state.run}",
            time.time_ns(),
            id=self._actor.id,
            exit_status=status,
            restarts=state.restarts + 1,
            pause=pause,
        )

    def _announce_end(self) -> None:
        """Whoever hears of an end has heard of the start, and of a kill; of neither twice, by its key."""
        state, removal = self._actor.state, self._actor.removal.told_with_exit()
        start = self._start()
        before = [] if state.held or self._heard.get(start.topic) == start.key else [start]
        before += [self._oom(state.exited_at)] if state.oom else []

        def settled(result: Any) -> None:
            if not self._again(result):
                self._told_end = True
                self._actor.removal.announced = bool(removal)
                self._settled_if_told()

        self._publish([*before, self._exit(), *removal], settled, ASK_LIMIT)

    def _exit(self) -> m.NewEvent:
        state = self._actor.state
        status = state.exit_code if state.known else None
        body = {"id": self._actor.id, "pid": state.pid, "exit_status": status, "exited_at": state.exited_at}
        return self._event("/tasks/exit", self._run_key(), state.exited_at, **body)

    def _again(self, result: Any) -> bool:
        """An exit that nobody has taken down is told again, unless it never will be."""
        self._told(result)
        if not isinstance(result, RemoteError) or result.code in ("not_found", "invalid_argument"):
            return False
        self._actor.later(1.0, self._tell_end)
        return True


def _nothing() -> None:
    """Nobody waits for that."""
