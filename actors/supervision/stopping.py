"""Stopping a child: ask, wait, kill. A supervisor stops what is below it first.

Static children stop one by one, last to first, each with its own deadline. Dynamic ones stop together
under a single deadline. No child, whatever it does, can hold up its supervisor for longer than that.
"""

from actors.supervision.effects import Dump, Kill, Terminate
from actors.supervision.growth import alive_children, forget, rebuild
from actors.supervision.nodes import ALIVE, WITHOUT_PROCESS, Child, Phase, Signal, Supervisor, TimerKind, Tree
from actors.supervision.reason import SHUTDOWN, ExitReason

HANG_GRACE = 1.0
"""Seconds that a hung child gets to dump its stacks and obey SIGTERM before it is killed."""


def begin(tree: Tree, child: Child) -> None:
    """Stop a child, whatever it is doing; STOPPED is signalled once it is down."""
    child.hung = False
    if child.phase is Phase.DOWN:
        return
    if child.phase in WITHOUT_PROCESS:
        tree.cancel_timer(child)
        child.phase = Phase.DOWN
        tree.signal(Signal.STOPPED, child, child.reason)
    elif isinstance(child, Supervisor):
        _stop_supervisor(tree, child)
    elif child.phase is not Phase.STOPPING:
        child.phase = Phase.STOPPING
        if child.pid is not None:
            send_stop(tree, child)


def send_stop(tree: Tree, child: Child) -> None:
    """Send the first signal to a process whose pid is known, and set its deadline."""
    shutdown = child.spec.shutdown
    if child.kill_wanted or shutdown == "brutal_kill":
        kill(tree, child)
        return
    tree.emit(Terminate(child.name, child.pid or 0))
    shared = child.parent is not None and child.parent.shared_timer is not None
    if isinstance(shutdown, int | float) and not shared:
        child.timer = tree.set_timer(TimerKind.KILL, child, shutdown / 1000)


def kill(tree: Tree, child: Child) -> None:
    """End a leaf by force, once; if its fork is still under way, as soon as it has a pid."""
    tree.cancel_timer(child)
    child.phase = Phase.STOPPING
    child.kill_wanted = True
    if child.pid is not None and not child.killed:
        child.killed = True
        tree.emit(Kill(child.name, child.pid))


def stop_hung(tree: Tree, child: Child) -> None:
    """A leaf hangs: dump, terminate, and kill after a short grace. Its end counts as a crash.

    One that hangs while it is being stopped with no deadline gets one now.
    """
    if child.pid is None or child.phase not in ALIVE or child.killed:
        return
    if child.phase is Phase.STOPPING:
        if child.timer is None:
            tree.emit(Dump(child.name, child.pid))
            child.timer = tree.set_timer(TimerKind.KILL, child, HANG_GRACE)
        return
    child.phase = Phase.STOPPING
    child.hung = True
    tree.emit(Dump(child.name, child.pid))
    tree.emit(Terminate(child.name, child.pid))
    child.timer = tree.set_timer(TimerKind.KILL, child, HANG_GRACE)


def collapse(tree: Tree, supervisor: Supervisor, reason: ExitReason) -> None:
    """A supervisor ends on its own account: it gave up, could not start, or was told to by a child."""
    if supervisor.phase is Phase.STOPPING:
        return
    supervisor.phase = Phase.STOPPING
    supervisor.exit_reason = reason
    _stop_children(tree, supervisor)


def _stop_supervisor(tree: Tree, supervisor: Supervisor) -> None:
    # Asked from above, which overrides an end on its own account that may be under way.
    supervisor.exit_reason = None
    if supervisor.phase is not Phase.STOPPING:
        supervisor.phase = Phase.STOPPING
        _stop_children(tree, supervisor)
    shutdown = supervisor.spec.shutdown
    if shutdown == "brutal_kill":
        kill_below(tree, supervisor)
    elif isinstance(shutdown, int | float) and supervisor.timer is None and not supervisor.brutal:
        supervisor.timer = tree.set_timer(TimerKind.KILL, supervisor, shutdown / 1000)


def _stop_children(tree: Tree, supervisor: Supervisor) -> None:
    supervisor.plan.clear()
    if supervisor.dynamic:
        _stop_together(tree, supervisor)
    else:
        supervisor.plan.stops = doom(tree, alive_children(supervisor))
        for child in supervisor.children.values():
            if child.phase is Phase.DOWN:
                tree.refuse_start(child, f"supervisor {supervisor.name} is stopping")
    tree.signal(Signal.ADVANCE, supervisor)


def doom(tree: Tree, children: list[Child]) -> list[Child]:
    """Mark children as about to be stopped: whatever ends them now is no crash to react to.

    Those asleep or between two restarts have no process and are stopped at once; returns the others.
    """
    for child in children:
        child.doomed = child.phase not in WITHOUT_PROCESS
        if not child.doomed:
            begin(tree, child)
    return [child for child in children if child.doomed]


def _stop_together(tree: Tree, supervisor: Supervisor) -> None:
    shutdown = supervisor.pattern.shutdown
    alive = alive_children(supervisor)
    if alive and isinstance(shutdown, int | float):
        supervisor.shared_timer = tree.set_timer(TimerKind.KILL_ALL, supervisor, shutdown / 1000)
    for child in list(supervisor.children.values()):
        if child.phase is Phase.DOWN:
            tree.refuse_start(child, f"supervisor {supervisor.name} is stopping")
            forget(tree, child)
    for child in doom(tree, alive):
        begin(tree, child)


def kill_below(tree: Tree, supervisor: Supervisor) -> None:
    """The supervisor's own time is over: kill every process below it, all at once."""
    tree.cancel_timer(supervisor)
    supervisor.brutal = True
    for child in doom(tree, alive_children(supervisor)):
        if isinstance(child, Supervisor):
            child.brutal = True
            begin(tree, child)
            kill_below(tree, child)
        else:
            kill(tree, child)


def deadline_passed(tree: Tree, child: Child, kind: TimerKind) -> None:
    """A stop took too long."""
    if not isinstance(child, Supervisor):
        kill(tree, child)
    elif kind is TimerKind.KILL:
        kill_below(tree, child)
    else:
        child.shared_timer = None
        for below in alive_children(child):
            kill(tree, below)


def ended(tree: Tree, supervisor: Supervisor) -> None:
    """All below a stopping supervisor is down: so is it, and its own supervisor hears why."""
    tree.cancel_timer(supervisor)
    tree.cancel_shared_timer(supervisor)
    supervisor.phase = Phase.DOWN
    rebuild(tree, supervisor)
    reason = supervisor.exit_reason
    if reason is None:
        tree.signal(Signal.STOPPED, supervisor, SHUTDOWN)
    elif supervisor.was_up:
        tree.signal(Signal.EXITED, supervisor, reason)
    else:
        tree.signal(Signal.FAILED, supervisor, reason)
