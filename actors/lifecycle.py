r"""A container's life as a pure state machine: facts in, effects out (see actors/container.py for both ends).

    created --start--> preparing --> starting --> running --> exited --> (start again, or) removing --> gone
                            \____________\_ failed: back to created, with the error

Recovery is the same code as start-up: the last state that was journalled is read, and `Loaded` says what
to do next in each. A state is journalled before the effect that it announces, so a crash between the two
repeats the effect; each of them can be repeated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Literal

PAUSE_FIRST, PAUSE_MOST = 0.1, 30.0  # seconds between an exit and the next start by the policy
HEALTHY_RUN = 10.0  # seconds after which the pauses begin anew
OOM_EXIT = 137  # 128 and SIGKILL

Phase = Literal["created", "preparing", "starting", "running", "exited", "removing", "gone"]


@dataclass(frozen=True, slots=True)
class State:
    """What is journalled. Times in nanoseconds since the epoch.

    Attributes:
        run: how many times it has been started; names the run in events and files.
        known: whether the exit code is known; without it `exit_code` means nothing.
        error: why the last start failed; such a run is over as one that has exited is.
        settled: the run is over, that is durable and announced, and everything it held has been released.
        auto_remove: it is removed when it has exited, or could not be started.
        remove: somebody wants it gone as soon as it has exited.
        policy: when it starts again by itself (`on-failure`, `always`, `unless-stopped`, else never).
        tries: bound of `on-failure`, 0 for none.
        halted: a person has stopped it; no policy undoes that.
        again: a person wants it started anew when it has exited.
        restarts: how often in a row the policy has started it.
        paused: a person wants its processes to stand still.
        stands: that it stands still has been told, or is told next; else that it goes on.
        turned_at: when that last changed; 0 for never in this run. Names the event.
        oom: the kernel has killed one of its processes for want of memory.
        cause: why we ended it ourselves; empty if we did not.
        held: its process is made, but the program is not to run before somebody says so.
    """

    phase: Phase = "created"
    run: int = 0
    pid: int = 0
    start_time: int = 0
    started_at: int = 0
    exited_at: int = 0
    exit_code: int = 0
    stop_signal: str = ""
    known: bool = True
    error: str = ""
    error_code: int = 0
    settled: bool = False
    auto_remove: bool = False
    remove: bool = False
    policy: str = "no"
    tries: int = 0
    halted: bool = False
    again: bool = False
    restarts: int = 0
    paused: bool = False
    stands: bool = False
    turned_at: int = 0
    oom: bool = False
    cause: str = ""
    held: bool = False


class Effect(Enum):
    """What the actor is to do; everything it needs to know is in the state."""

    SAVE = auto()  # the journal, before anything that follows
    PREPARE = auto()  # snapshot, network namespace, mount, bundle -> Prepared or Failed
    START = auto()  # the runtime -> Started or Failed
    ABANDON = auto()  # the runtime's call that is under way, if it has not come to its end in a while
    INSPECT = auto()  # what became of a start that was cut off -> Started, Failed, NeverStarted or Exited
    WATCH = auto()  # its process -> Exited
    KILL = auto()  # its process, at once
    STOP = auto()  # its process once more, as whoever wanted that would
    RELEASE = auto()  # drain the output, clean up after the runtime -> Released
    REPORT = auto()  # the task to metadata, durable
    ANNOUNCE_CREATE = auto()
    ANNOUNCE_START = auto()
    FOLLOW = auto()  # have its processes do what a person wants -> Turned
    ANNOUNCE_TURN = auto()  # that they stand still, or go on
    SETTLE = auto()  # the task to metadata, then the exit event -> Settled
    REMOVE = auto()  # everything that is left, durable -> Removed
    RESTART = auto()  # after a pause -> RestartDue
    ANSWER_START = auto()  # those who wait for the start
    ANSWER_EXIT = auto()  # those who wait for the exit
    ANSWER_REMOVED = auto()
    FINISH = auto()  # this process

    @property
    def word(self) -> str:
        """As failpoints name it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Loaded:
    """The actor has read what is durable, at this time.

    Attributes:
        start: it is wanted running.
        removed: it is wanted gone.
        lost: a process is on record; without a journal, nobody can know how it ended.
    """

    start: bool
    removed: bool = False
    lost: bool = False
    at: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """Somebody wants it started: the run of that number, or with 0 the next, unless one is under way."""

    run: int = 0


@dataclass(frozen=True, slots=True)
class Create:
    """Somebody wants its process made, and held until `LetRun`."""


@dataclass(frozen=True, slots=True)
class LetRun:
    """The program of a process that was held runs, or has run."""

    at: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Whoever had it run has taken note of the end: it is as one that has never run."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that the runtime needs is there. `stop_signal` is the image's, empty for none."""

    stop_signal: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """Its first process exists."""

    pid: int
    start_time: int
    at: int


@dataclass(frozen=True, slots=True)
class NeverStarted:
    """The start that was cut off had not begun."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be started; `code` is what a shell would say (126, 127, else 125)."""

    error: str
    code: int


@dataclass(frozen=True, slots=True)
class Exited:
    """Its first process has ended; `code` is None when nobody can know any more.

    `lasted`: seconds since its start, by a clock that nobody sets.
    """

    code: int | None
    at: int
    oom: bool = False
    lasted: float = 0.0


@dataclass(frozen=True, slots=True)
class Released:
    """Nothing of the run is left but its output and its snapshot."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The exit is durable and announced."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody stops it: it stays stopped, or is started anew if `again`. Signals are for the actor."""

    again: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Somebody has changed when it starts again by itself."""

    policy: str
    tries: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Somebody wants its processes to stand still, or to go on."""

    paused: bool


@dataclass(frozen=True, slots=True)
class Turned:
    """All of its processes do what a person wants: they stand still, or go on."""

    at: int


@dataclass(frozen=True, slots=True)
class Ended:
    """We end it ourselves, for this reason; the policy may start it again."""

    cause: str


@dataclass(frozen=True, slots=True)
class RestartDue:
    """The pause after the exit of this run is over."""

    run: int


@dataclass(frozen=True, slots=True)
class Remove:
    """Somebody wants it gone, and has been told whether that is allowed (`refusal`)."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Nothing is left."""


Fact = (
    Loaded
    | Start
    | Create
    | LetRun
    | Forget
    | Prepared
    | Started
    | NeverStarted
    | Failed
    | Exited
    | Released
    | Settled
    | Stop
    | Policy
    | Pause
    | Turned
    | Ended
    | RestartDue
    | Remove
    | Removed
)
Decision = tuple[State, tuple[Effect, ...]]
E = Effect


def remembered(state: State, task: Mapping[str, Any]) -> State:
    """What `task`, the report in metadata, adds to a state without a journal: after a reboot.

    Without it, what had run to its end would run again, and its exit code would be forgotten.
    """
    blank = State(auto_remove=state.auto_remove, policy=state.policy, tries=state.tries, halted=state.halted)
    if state != blank or not task:
        return state
    times = replace(state, started_at=task["started_at"], exited_at=task["exited_at"])
    settled = not state.auto_remove  # else the removal is still to be done
    if task["status"] == "stopped":
        code = task["exit_code"]
        return replace(times, phase="exited", exit_code=code or 0, known=code is not None, settled=settled)
    if task["error"]:
        return replace(times, error=task["error"], error_code=125, settled=settled)
    return times


def refuse_start(state: State, run: int = 0) -> str:
    """Why a start is refused; empty when it is not, or when that run has begun already."""
    if 0 < run <= state.run:
        return ""
    if state.phase in ("removing", "gone") or state.remove:
        return "is being removed"
    if _is_over(state) and not state.settled:
        return "has just exited and is being cleaned up; try again"
    return ""


def _is_over(state: State) -> bool:
    """Whether its last run has exited or could not be started."""
    return state.phase == "exited" or (state.phase == "created" and bool(state.error))


def refuse_remove(state: State, *, force: bool) -> str:
    """Why a removal is refused; empty when it is not."""
    if not force and state.phase in ("preparing", "starting", "running"):
        return "is running"
    return ""


def decide(state: State, fact: Fact) -> Decision:
    """The next state and what to do, in order. A fact that does not fit the state changes nothing."""
    match fact:
        case Loaded():
            return _loaded(state, fact)
        case Start():
            return _start(state, fact.run)
        case Prepared() | NeverStarted() | Started():
            return _starting(state, fact)
        case Failed() if state.phase in ("preparing", "starting"):
            return _failed(state, fact)
        case Exited() if state.phase in ("starting", "running"):
            return _exited(state, fact)
        case Released() if _is_over(state) and not state.settled:
            return (state, (E.SETTLE,)) if state.phase == "exited" else _settled(state)
        case Settled() if state.phase == "exited" and not state.settled:
            return _settled(state)
        case Stop() | Policy() | Pause() | Turned() | Ended() | RestartDue() | Remove():
            return _wished(state, fact)
        case Create() | LetRun() | Forget():
            return _in_steps(state, fact)
        case Removed() if state.phase == "removing":
            effects = (E.ANSWER_START, E.ANSWER_EXIT, E.ANSWER_REMOVED, E.FINISH)
            return replace(state, phase="gone"), effects
        case _:
            return state, ()


def _starting(state: State, fact: Prepared | NeverStarted | Started) -> Decision:
    """How far a start has come."""
    match fact:
        case Prepared() if state.phase == "preparing":
            prepared = replace(state, phase="starting", stop_signal=fact.stop_signal)
            return _unless_unwanted(prepared, (E.SAVE, E.START, *_if_unwanted(prepared)))
        case NeverStarted() if state.phase == "starting":
            return _unless_unwanted(replace(state, phase="preparing"), (E.PREPARE,))
        case Started() if state.phase == "starting":
            return _started(state, fact)
        case _:
            return state, ()


def _in_steps(state: State, fact: Create | LetRun | Forget) -> Decision:
    """A run that is made, let go and forgotten by its client, one step after the other."""
    match fact:
        case Create() if state.phase == "created" and (state.settled or not state.error) and not state.remove:
            begun, effects = _begin(state, state.run + 1, restarts=0)
            return replace(begun, held=True), effects
        case LetRun() if state.phase == "running" and state.held:
            let = replace(state, held=False, started_at=fact.at)
            return let, (E.SAVE, E.REPORT, E.ANNOUNCE_START)
        case Forget() if state.phase == "exited" and state.settled and not state.remove:
            return State(run=state.run, auto_remove=state.auto_remove), (E.SAVE, E.REPORT)
        case _:
            return state, ()


def _wished(state: State, fact: Stop | Policy | Pause | Turned | Ended | RestartDue | Remove) -> Decision:
    """What is wanted of one that exists already; journalled before anything is done about it."""
    match fact:
        case Stop() if state.phase in ("preparing", "starting", "running"):
            return _unwanted(replace(state, halted=not fact.again, again=fact.again))
        case Stop() if _is_over(state):
            again = fact.again and not state.settled
            return replace(state, halted=not fact.again, again=again), (E.SAVE,)
        case Policy() if (fact.policy, fact.tries) != (state.policy, state.tries):
            return replace(state, policy=fact.policy, tries=fact.tries), (E.SAVE,)
        case Pause() if state.phase == "running" and fact.paused != state.paused:
            return replace(state, paused=fact.paused), (E.SAVE,)
        case Turned() if state.phase == "running" and state.paused != state.stands:
            turned = replace(state, stands=state.paused, turned_at=fact.at)
            return turned, (E.SAVE, E.ANNOUNCE_TURN, E.REPORT)
        case Ended() if state.phase == "running":
            return replace(state, cause=fact.cause), (E.SAVE,)
        case Remove():
            return _remove(state)
        case RestartDue() if fact.run == state.run and starts_again(state):
            return _begin(state, state.run + 1, restarts=state.restarts + 1)
        case _:
            return state, ()


def _loaded(state: State, fact: Loaded) -> Decision:
    """Go on where the journal ends."""
    if fact.removed and state.phase not in ("removing", "gone"):
        if state.phase in ("preparing", "starting", "running") or (_is_over(state) and not state.settled):
            return _resume(replace(state, remove=True))
        return _remove(state)
    if fact.lost and state.phase == "created" and not state.error:
        return _exited(replace(state, phase="running"), Exited(None, fact.at))
    if state.phase == "created" and fact.start and not state.error:
        return _start(state)
    return _resume(state)


def starts_again(state: State) -> bool:
    """Whether the policy wants a run that is over and settled to be followed by another."""
    if not _is_over(state) or not state.settled or state.halted or state.remove or state.auto_remove:
        return False
    if state.error and not state.restarts:
        return False  # it has never worked: whoever asked for the start has been told
    if state.policy == "on-failure":
        failed = bool(state.error) or not state.known or state.exit_code != 0 or bool(state.cause)
        return failed and (not state.tries or state.restarts < state.tries)
    return state.policy in ("always", "unless-stopped")


def pause_before_restart(state: State) -> float:
    """Seconds: 0.1, and twice as much each time, up to half a minute."""
    return min(PAUSE_FIRST * 2.0 ** min(state.restarts, 16), PAUSE_MOST)


def exit_reason(state: State) -> str:
    """Why its last run is over, for people; empty while it runs or has not run."""
    if state.phase != "exited":
        return ""
    if state.oom and state.exit_code == OOM_EXIT:
        return "out of memory"
    if state.cause:
        return state.cause
    if not state.known:
        return "nothing watched when it ended"
    return "stopped" if state.halted or state.again else "exited"


def _resume(state: State) -> Decision:
    if starts_again(state):
        return state, (E.RESTART,)
    release = (E.RELEASE,) if _is_over(state) and not state.settled else ()
    effects: dict[Phase, tuple[Effect, ...]] = {
        "created": (E.REPORT, *release) if release else (),
        "preparing": (E.PREPARE,),
        "starting": (E.INSPECT, *_if_unwanted(state)),
        "running": (E.WATCH, E.REPORT, _announcement(state), *_turn(state), *_end_wanted(state)),
        "exited": release,
        "removing": (E.REMOVE,),
        "gone": (E.FINISH,),
    }
    return state, effects[state.phase]


def _turn(state: State) -> tuple[Effect, ...]:
    """Whoever was about to tell that it stands still, or goes on, may have died before that."""
    told = (E.ANNOUNCE_TURN,) if state.turned_at else ()
    return (*told, E.FOLLOW) if state.paused != state.stands else told


def _end_wanted(state: State) -> tuple[Effect, ...]:
    """Whoever was about to end it may have died before the signal, or before the second one."""
    if state.remove:
        return (E.KILL,)
    return (E.STOP,) if state.halted or state.again or state.cause else ()


def _announcement(state: State) -> Effect:
    return E.ANNOUNCE_CREATE if state.held else E.ANNOUNCE_START


def _start(state: State, run: int = 0) -> Decision:
    if state.phase in ("preparing", "starting", "removing") or refuse_start(state, run):
        return state, ()
    if state.phase in ("running", "gone"):
        return state, (E.ANSWER_START,)
    if 0 < run <= state.run:
        return state, (E.ANSWER_START,) if state.settled else ()
    return _begin(state, max(run, state.run + 1), restarts=0)


def _begin(state: State, run: int, restarts: int) -> Decision:
    """A new run, of which nothing is known yet."""
    fresh = State(
        phase="preparing",
        run=run,
        auto_remove=state.auto_remove,
        policy=state.policy,
        tries=state.tries,
        restarts=restarts,
    )
    return fresh, (E.SAVE, E.PREPARE)


def _unwanted(state: State) -> Decision:
    """Somebody wants it to end before it has begun."""
    return state, (E.SAVE, *_if_unwanted(state))


def _if_unwanted(state: State) -> tuple[Effect, ...]:
    """A runtime that hangs would keep it for ever from the end that somebody wants."""
    return (E.ABANDON,) if state.phase == "starting" and _end_wanted(state) else ()


def _unless_unwanted(state: State, effects: tuple[Effect, ...]) -> Decision:
    """Go on with a start, unless somebody wants it removed by now."""
    if state.remove:
        return _failed(state, Failed("removed before it was started", 125))
    return state, effects


def _started(state: State, fact: Started) -> Decision:
    running = replace(
        state, phase="running", pid=fact.pid, start_time=fact.start_time, started_at=fact.at, error=""
    )
    # Of one that is to be started anew at once, whoever waits is answered with the start that follows.
    answer = () if state.again else (E.ANSWER_START,)
    kill = (E.KILL,) if state.remove or state.halted or state.again else ()
    return running, (E.SAVE, E.WATCH, E.REPORT, _announcement(state), *answer, *kill)


def _failed(state: State, fact: Failed) -> Decision:
    """What a failed start has left is cleared away before anybody may start it again."""
    error = fact.error or "it could not be started, nobody said why"
    failed = replace(state, phase="created", error=error, error_code=fact.code, settled=False)
    return failed, (E.SAVE, E.REPORT, E.RELEASE)


def _exited(state: State, fact: Exited) -> Decision:
    exited = replace(
        state,
        phase="exited",
        exited_at=fact.at,
        exit_code=fact.code if fact.code is not None else 0,
        known=fact.code is not None,
        settled=False,
        paused=False,
        stands=False,
        turned_at=0,
        oom=fact.oom,
        restarts=0 if fact.lasted >= HEALTHY_RUN else state.restarts,
    )
    return exited, (E.SAVE, E.RELEASE)


def _settled(state: State) -> Decision:
    settled = replace(state, settled=True)
    if settled.remove or settled.auto_remove:
        return _remove(settled)
    if settled.again:
        begun, effects = _begin(settled, settled.run + 1, restarts=0)
        return begun, (E.ANSWER_EXIT, *effects)
    ends = (E.SAVE, E.ANSWER_START, E.ANSWER_EXIT)
    return settled, (*ends, E.RESTART) if starts_again(settled) else ends


def _remove(state: State) -> Decision:
    match state.phase:
        case "removing":
            return state, ()
        case "gone":
            return state, (E.ANSWER_REMOVED,)
        case "preparing" | "starting":
            return _unwanted(replace(state, remove=True))
        case "running":
            return replace(state, remove=True), (E.SAVE, E.KILL)
        case _ if _is_over(state) and not state.settled:
            return replace(state, remove=True), (E.SAVE,)
        case _:
            return replace(state, phase="removing", remove=True), (E.SAVE, E.REMOVE)
