"""Restarts: how soon, how many, with whom, and when to give up.

The budget counts attempts at the moment they are made, over an inclusive window; waiting between them
therefore never lets more than `intensity` attempts into one period (OTP, supervisor: intensity, period).
"""

from actors.supervision import starting, stopping
from actors.supervision.nodes import Cause, Child, Phase, Supervisor, TimerKind, Tree
from actors.supervision.plan import regroup
from actors.supervision.reason import ExitReason
from actors.supervision.spec import SupervisorFlags

_MAX_DOUBLINGS = 40


def schedule(tree: Tree, supervisor: Supervisor, child: Child) -> None:
    """A child has to be restarted: now if it had been healthy, else after its back-off."""
    flags = supervisor.spec.supervision
    if child.was_up and tree.now - child.started_at >= flags.healthy:
        child.failures = 0
    delay = backoff(flags, child.failures, tree.jitter())
    child.failures += 1
    if delay <= 0:
        attempt(tree, supervisor, child)
        return
    child.phase = Phase.RESTARTING
    child.timer = tree.set_timer(TimerKind.RESTART, child, delay)


def backoff(flags: SupervisorFlags, failures: int, jitter: float) -> float:
    """Seconds to wait after `failures` earlier failures in a row; `jitter` (0 to 1) takes off up to half."""
    if failures == 0:
        return 0.0
    ceiling = min(flags.backoff_limit, flags.backoff_first * 2.0 ** min(failures - 1, _MAX_DOUBLINGS))
    return max(flags.backoff_first, ceiling * (1 - jitter / 2))


def attempt(tree: Tree, supervisor: Supervisor, child: Child) -> None:
    """Restart a child, with its group; or give up if that would be one restart too many."""
    child.phase = Phase.DOWN
    if not within_budget(supervisor, tree.now):
        _give_up(tree, supervisor, child)
    elif supervisor.grouped:
        regroup(tree, supervisor, child)
    else:
        starting.begin(tree, child, Cause.RESTART)


def within_budget(supervisor: Supervisor, now: float) -> bool:
    """Count one restart; False if there have now been more than `intensity` within the period."""
    flags = supervisor.spec.supervision
    restarts = supervisor.restarts
    restarts.append(now)
    while restarts and now - restarts[0] > flags.period:
        restarts.popleft()
    return len(restarts) <= flags.intensity


def _give_up(tree: Tree, supervisor: Supervisor, child: Child) -> None:
    tree.report("reached_max_restart_intensity", child, "run", child.reason)
    text = f"supervisor {supervisor.name} gave up: child {child.name} was restarted too often"
    stopping.collapse(tree, supervisor, ExitReason("shutdown", text, cause=child.reason))
