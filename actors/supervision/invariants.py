"""What must hold between any two decisions. Tests check it after every step."""

from actors.supervision.nodes import ALIVE, Child, Phase, Supervisor, Tree


class InvariantError(AssertionError):
    """The state contradicts itself: a defect of the supervision code."""


def validate_state(tree: Tree) -> None:
    """Check the whole tree.

    Raises:
        InvariantError: naming the child and the rule that is broken.
    """
    _require(not tree.signals, "signals", "left undelivered")
    reachable = _walk(tree.root)
    _require(sorted(tree.nodes) == sorted(c.name for c in reachable), "nodes", "differ from the tree")
    _require(all(tree.nodes[c.name] is c for c in reachable), "nodes", "two entries of one name")
    pids = [child.pid for child in reachable if child.pid is not None]
    _require(len(pids) == len(set(pids)), "pids", "one pid for two children")
    timers = [t for c in reachable for t in _timers_of(c)]
    _require(sorted(timers) == sorted(tree.timers), "timers", f"leaked or lost: {timers} {list(tree.timers)}")
    for child in reachable:
        _check_child(child)
        if isinstance(child, Supervisor):
            _check_supervisor(child)
    _require(not tree.over or tree.root.phase is Phase.DOWN, tree.root.name, "alive after the end")


def _walk(supervisor: Supervisor) -> list[Child]:
    found: list[Child] = [supervisor]
    for child in supervisor.children.values():
        _require(child.parent is supervisor, child.name, "does not know its supervisor")
        found.extend(_walk(child) if isinstance(child, Supervisor) else [child])
    return found


def _timers_of(child: Child) -> list[str]:
    timers = [child.timer] if child.timer is not None else []
    if isinstance(child, Supervisor) and child.shared_timer is not None:
        timers.append(child.shared_timer)
    return timers


def _check_child(child: Child) -> None:
    name, phase = child.name, child.phase
    leaf = not isinstance(child, Supervisor)
    _require(phase in ALIVE or child.pid is None, name, f"has a pid while {phase}")
    _require(leaf or child.pid is None, name, "is a supervisor with a pid")
    _require(leaf or phase is not Phase.ASLEEP, name, "is a supervisor that sleeps")
    _require(not (leaf and phase is Phase.RUNNING) or child.pid is not None, name, "runs without a pid")
    _require(phase is not Phase.RESTARTING or child.timer is not None, name, "restarts without a timer")
    timed = phase in (Phase.RESTARTING, Phase.STOPPING)
    _require(child.timer is None or timed, name, f"has a timer while {phase}")
    _require(not child.stoppers or phase is Phase.STOPPING, name, f"leaves stops unanswered while {phase}")
    _require(
        not child.held or phase in (Phase.DOWN, Phase.STOPPING),
        name,
        f"is {phase} though a person stopped it",
    )
    _require(child.starter is None or _start_is_due(child), name, f"leaves a start unanswered while {phase}")
    _require(not child.doomed or phase in ALIVE, name, f"is doomed while {phase}")


def _start_is_due(child: Child) -> bool:
    queued = child.parent is not None and child in child.parent.plan.starts
    return queued or child.phase in (Phase.STARTING, Phase.STOPPING)


def _check_supervisor(supervisor: Supervisor) -> None:
    name, flags = supervisor.name, supervisor.spec.supervision
    down = supervisor.phase in (Phase.DOWN, Phase.RESTARTING)
    children = list(supervisor.children.values())
    _require(not down or all(c.phase is Phase.DOWN for c in children), name, "is down with living children")
    over = len(supervisor.restarts) > flags.intensity
    _require(not over or supervisor.phase is Phase.STOPPING, name, "is over its budget and has not given up")
    _require([c.order for c in children] == sorted(c.order for c in children), name, "lost the order")
    idle = supervisor.plan.current is None and supervisor.phase is Phase.RUNNING
    _require(not (idle and supervisor.plan.members()), name, "has a plan that nobody carries out")
    if supervisor.dynamic:
        _require(
            all(c.phase is not Phase.DOWN for c in children), name, "keeps dynamic children that are down"
        )
    elif supervisor.phase is Phase.STARTING:
        _require(supervisor.plan.current is not None, name, "waits for nothing while starting")
    else:
        _check_sequence(supervisor, children)


def _check_sequence(supervisor: Supervisor, children: list[Child]) -> None:
    name, current = supervisor.name, supervisor.plan.current
    if supervisor.phase is Phase.STOPPING and not supervisor.brutal:
        _require(current is not None, name, "waits for nothing while stopping")
        later = [
            c.name for c in children if current and c.order > current.order and c.phase is not Phase.DOWN
        ]
        _require(not later, name, f"did not stop in reverse: {later} live on")
    if current is not None and current.phase is Phase.STARTING:
        rivals = [c.name for c in children if c.phase is Phase.STARTING and c.cause is current.cause]
        _require(
            supervisor.phase is not Phase.STARTING or rivals == [current.name], name, "starts two at once"
        )


def _require(holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise InvariantError(f"{name}: {rule}")
