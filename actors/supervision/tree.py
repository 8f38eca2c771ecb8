"""`decide`: one event in, a list of effects out. No clock, no randomness, no I/O.

The same events at the same times with the same jitter give the same effects, which is what makes every
behaviour of the supervision tree testable by the million, and every failure of it replayable.
"""

from collections.abc import Callable
from dataclasses import replace

from actors.supervision import adoption, calls, outcomes, plan, restarting, starting, stopping
from actors.supervision.effects import Effect, Exit, Kill
from actors.supervision.events import (
    Adopt,
    Boot,
    Call,
    Event,
    Exited,
    Hung,
    Ignored,
    Shutdown,
    Slept,
    Spawned,
    Started,
    StartFailed,
    TimerFired,
    Woken,
)
from actors.supervision.nodes import (
    ALIVE,
    Cause,
    Child,
    Phase,
    Signal,
    Supervisor,
    TimerKind,
    Tree,
)
from actors.supervision.reason import NORMAL, SHUTDOWN, ExitReason


def decide(tree: Tree, event: Event, now: float) -> list[Effect]:
    """Change the tree as `event` demands and return what has to be done, in order.

    `now` is in seconds of a monotonic clock and never goes back. Events about processes that are no
    longer current, and timers that were cancelled, change nothing.
    """
    tree.now = now
    tree.effects = []
    _EVENTS[type(event)](tree, event)
    while tree.signals:
        signal, child, reason = tree.signals.popleft()
        _deliver(tree, signal, child, reason or SHUTDOWN)
    return tree.effects


def _deliver(tree: Tree, signal: Signal, child: Child, reason: ExitReason) -> None:
    match signal:
        case Signal.ADVANCE:
            if isinstance(child, Supervisor):
                plan.advance(tree, child)
        case Signal.UP:
            outcomes.up(tree, child)
        case Signal.IGNORED:
            outcomes.ignored(tree, child)
        case Signal.FAILED:
            outcomes.failed(tree, child, reason)
        case Signal.EXITED:
            outcomes.exited(tree, child, reason)
        case Signal.STOPPED:
            outcomes.stopped(tree, child, reason)


def _boot(tree: Tree, event: Boot) -> None:
    if tree.booted or tree.over:
        return
    tree.booted = True
    for name, highest in event.incarnations.items():
        tree.incarnations[name] = max(highest, tree.incarnations.get(name, 0))
    for name, process in tree.adopted.items():
        tree.incarnations[name] = max(process.incarnation, tree.incarnations.get(name, 0))
    starting.begin(tree, tree.root, Cause.BOOT)


def _adopt(tree: Tree, event: Adopt) -> None:
    if tree.over:
        tree.emit(Kill(event.spec.id, event.pid))
    else:
        adoption.adopt(tree, event)


def _shutdown(tree: Tree, _event: Shutdown) -> None:
    if tree.over:
        return
    if tree.booted:
        stopping.begin(tree, tree.root)
        return
    tree.over = True
    outcomes.kill_unclaimed(tree)
    tree.emit(Exit(SHUTDOWN))


def _current(tree: Tree, name: str, incarnation: int, pid: int | None = None) -> Child | None:
    """The child with a live process that the event is about, or None if the event is stale."""
    child = tree.nodes.get(name)
    if child is None or isinstance(child, Supervisor) or child.phase not in ALIVE:
        return None
    known = child.pid in (None, pid) or pid is None
    return child if child.incarnation == incarnation and known else None


def _spawned(tree: Tree, event: Spawned) -> None:
    child = _current(tree, event.name, event.incarnation, event.pid)
    if child is not None and child.pid is None:
        child.pid = event.pid
        if child.phase is Phase.STOPPING:
            stopping.send_stop(tree, child)


def _started(tree: Tree, event: Started) -> None:
    child = _current(tree, event.name, event.incarnation, event.pid)
    if child is None:
        return
    if child.phase is Phase.STARTING:
        starting.enter_running(tree, child, event.pid, event.info)
    elif child.pid is None:
        _spawned(tree, Spawned(event.name, event.pid, event.incarnation))


def _ignored(tree: Tree, event: Ignored) -> None:
    child = _current(tree, event.name, event.incarnation)
    if child is None:
        return
    if child.was_up:  # too late to choose: it had said that it was ready
        _ended(tree, child, NORMAL)
    else:
        outcomes.ignored(tree, child)


def _start_failed(tree: Tree, event: StartFailed) -> None:
    child = _current(tree, event.name, event.incarnation)
    if child is not None:
        _ended(tree, child, event.reason)


def _exited(tree: Tree, event: Exited) -> None:
    child = _current(tree, event.name, event.incarnation, event.pid)
    process = tree.adopted.get(event.name)
    if child is not None:
        _ended(tree, child, event.reason)
    elif process is not None and (process.pid, process.incarnation) == (event.pid, event.incarnation):
        del tree.adopted[event.name]  # gone before its supervisor could claim it


def _slept(tree: Tree, event: Slept) -> None:
    child = _current(tree, event.name, event.incarnation, event.pid)
    process = tree.adopted.get(event.name)
    if child is not None and child.phase is Phase.RUNNING:
        outcomes.asleep(tree, child)
    elif child is not None:
        _ended(tree, child, NORMAL)
    elif process is not None and (process.pid, process.incarnation) == (event.pid, event.incarnation):
        tree.adopted[event.name] = replace(process, pid=0)


def _woken(tree: Tree, event: Woken) -> None:
    child, process = tree.nodes.get(event.name), tree.adopted.get(event.name)
    if child is not None and child.phase is Phase.ASLEEP:
        starting.begin(tree, child, Cause.WOKEN)
    elif process is not None and not process.pid:
        del tree.adopted[event.name]  # then it is started, as whoever is not there


def _ended(tree: Tree, child: Child, reason: ExitReason) -> None:
    if child.hung:
        reason = ExitReason("abnormal", "hung", cause=reason)
    if child.phase is Phase.STOPPING and not child.hung:
        outcomes.stopped(tree, child, reason)
    elif child.was_up:
        outcomes.exited(tree, child, reason)
    else:
        outcomes.failed(tree, child, reason)


def _timer_fired(tree: Tree, event: TimerFired) -> None:
    timer = tree.timers.pop(event.key, None)
    if timer is None:
        return
    child = timer.child
    if timer.kind is not TimerKind.KILL_ALL:
        child.timer = None
    if timer.kind is not TimerKind.RESTART:
        stopping.deadline_passed(tree, child, timer.kind)
    elif child.parent is not None:
        restarting.attempt(tree, child.parent, child)


def _hung(tree: Tree, event: Hung) -> None:
    child = _current(tree, event.name, event.incarnation)
    if child is not None:
        stopping.stop_hung(tree, child)


def _call(tree: Tree, event: Call) -> None:
    calls.answer(tree, event)


_EVENTS: dict[type, Callable[..., None]] = {
    Boot: _boot,
    Adopt: _adopt,
    Spawned: _spawned,
    Started: _started,
    Ignored: _ignored,
    StartFailed: _start_failed,
    Exited: _exited,
    Slept: _slept,
    Woken: _woken,
    TimerFired: _timer_fired,
    Hung: _hung,
    Call: _call,
    Shutdown: _shutdown,
}
