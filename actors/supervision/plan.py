"""The next step of a supervisor's ordered work.

One step is awaited at a time, so starts and stops keep their order; events and queries are served in
between, since a step that waits is only a field of the state.
"""

from collections import deque

from actors.supervision import starting, stopping
from actors.supervision.nodes import UP, Cause, Child, Phase, Signal, Supervisor, Tree


def advance(tree: Tree, supervisor: Supervisor) -> None:
    """Take steps until one has to be awaited or the plan is done."""
    plan = supervisor.plan
    while plan.current is None:
        if plan.stops:
            _stop_next(tree, supervisor)
        elif supervisor.phase is Phase.STOPPING:
            if not (supervisor.dynamic and supervisor.children):
                stopping.ended(tree, supervisor)
            return
        elif plan.starts and supervisor.phase in UP:
            _start_next(tree, supervisor)
        else:
            break
    if supervisor.phase is Phase.STARTING and not plan.members():
        starting.enter_running(tree, supervisor, None, None)


def _stop_next(tree: Tree, supervisor: Supervisor) -> None:
    child = supervisor.plan.stops.pop()
    if child.phase is not Phase.DOWN:
        supervisor.plan.current = child
        stopping.begin(tree, child)


def _start_next(tree: Tree, supervisor: Supervisor) -> None:
    child = supervisor.plan.starts.popleft()
    startable = child.phase is Phase.DOWN and not child.held and tree.nodes.get(child.name) is child
    if not startable:
        return
    if child.starter is not None:
        cause = child.cause
    else:
        cause = Cause.BOOT if supervisor.phase is Phase.STARTING else Cause.RESTART
    if not supervisor.dynamic:
        supervisor.plan.current = child
    starting.begin(tree, child, cause)


def release(tree: Tree, child: Child) -> None:
    """A child has come to rest: let its supervisor go on if it waited for it."""
    supervisor = child.parent
    if supervisor is None:
        return
    awaited = supervisor.plan.current is child
    if awaited:
        supervisor.plan.current = None
    if awaited or (supervisor.dynamic and supervisor.phase is Phase.STOPPING):
        tree.signal(Signal.ADVANCE, supervisor)


def launch(tree: Tree, child: Child, cause: Cause) -> None:
    """Start a child that a call asked for: at once, or in its turn where children depend on each other."""
    supervisor = child.parent
    child.cause = cause
    if supervisor is not None and supervisor.grouped:
        supervisor.plan.starts.append(child)
        tree.signal(Signal.ADVANCE, supervisor)
    else:
        starting.begin(tree, child, cause)


def regroup(tree: Tree, supervisor: Supervisor, trigger: Child) -> None:
    """Plan the restart of `trigger` and of all that go with it: stop in reverse, then start in order.

    It takes the place of a plan that is under way, and covers what that one had still to do. A temporary
    child is forgotten as it stops, so its turn to start never comes.
    """
    first = 0
    if supervisor.spec.supervision.strategy == "rest_for_one":
        first = min(child.order for child in (trigger, *supervisor.plan.members()))
    members = [child for child in supervisor.children.values() if child.order >= first]
    supervisor.plan.starts = deque(members)
    supervisor.plan.stops = stopping.doom(tree, [child for child in members if child.phase is not Phase.DOWN])
    supervisor.plan.current = None
    tree.signal(Signal.ADVANCE, supervisor)
