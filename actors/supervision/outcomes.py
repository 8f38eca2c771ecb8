"""What follows when a child has come up, could not, or has ended: the rules of the supervisors."""

from actors.supervision import restarting, starting, stopping
from actors.supervision.effects import Exit, Kill, ReplyError
from actors.supervision.growth import forget
from actors.supervision.nodes import Cause, Child, Phase, Supervisor, Tree
from actors.supervision.plan import release
from actors.supervision.reason import NORMAL, ExitReason


def up(tree: Tree, child: Child) -> None:
    """A child runs, unless it is on its way down again: then it was ready for a moment only."""
    if child.phase is Phase.RUNNING:
        starting.announce(tree, child)
        release(tree, child)
        if child.parent is None:
            kill_unclaimed(tree)


def ignored(tree: Tree, child: Child) -> None:
    """A child chose not to run: its specification is kept, unless nothing would ever use it."""
    if child.phase is Phase.STOPPING or _absorbed(child):
        stopped(tree, child, NORMAL)
        return
    _rest(tree, child, NORMAL)
    child.failures = 0
    if child.starter is not None:
        tree.reply(child.starter, starting.started_result(child))
        child.starter = None
    if child.parent is None:
        _finish(tree, NORMAL)
        return
    release(tree, child)
    _drop_if_spent(tree, child, child.parent)


def failed(tree: Tree, child: Child, reason: ExitReason) -> None:
    """A child could not start."""
    if child.parent is None:
        tree.report("start_error", child, "start", reason)
        _finish(tree, reason)
        return
    if _absorbed(child):
        stopped(tree, child, reason)
        return
    _rest(tree, child, reason)
    tree.report("start_error", child, child.cause.value, reason)
    if child.cause in (Cause.RESTART, Cause.WOKEN):
        restarting.schedule(tree, child.parent, child)
    elif child.cause is Cause.BOOT:
        text = f"child {child.name} could not start"
        stopping.collapse(tree, child.parent, ExitReason("abnormal", text, cause=reason))
    else:
        _fail_call(tree, child, child.parent, reason)


def _fail_call(tree: Tree, child: Child, parent: Supervisor, reason: ExitReason) -> None:
    if child.starter is not None:
        tree.emit(ReplyError(child.starter, "start_failed", f"child {child.name} could not start: {reason}"))
        child.starter = None
    release(tree, child)
    if child.cause is Cause.ADDED:
        forget(tree, child)
    else:
        _drop_if_spent(tree, child, parent)


def exited(tree: Tree, child: Child, reason: ExitReason) -> None:
    """A running child ended by itself."""
    if child.parent is None:
        _finish(tree, reason)
        return
    if _absorbed(child):
        stopped(tree, child, reason)
        return
    _rest(tree, child, reason)
    tree.refuse_start(child, f"child {child.name} ended before it was ready")
    again = child.spec.restart == "permanent" or (child.spec.restart == "transient" and reason.abnormal)
    if again or reason.abnormal:
        tree.report("child_terminated", child, "run", reason)
    if again:
        restarting.schedule(tree, child.parent, child)
        return
    release(tree, child)
    _drop_if_spent(tree, child, child.parent)
    if child.spec.significant:
        _auto_shutdown(tree, child, child.parent)


def asleep(tree: Tree, child: Child) -> None:
    """A running child has gone to sleep; if it was about to be stopped, it is."""
    if _absorbed(child):
        stopped(tree, child, NORMAL)
        return
    child.phase = Phase.ASLEEP
    child.pid = None
    child.info = None


def _auto_shutdown(tree: Tree, child: Child, parent: Supervisor) -> None:
    mode = parent.spec.supervision.auto_shutdown
    others = any(c.spec.significant and c.phase is not Phase.DOWN for c in parent.children.values())
    if mode == "any_significant" or (mode == "all_significant" and not others):
        parent.was_up = True  # ending early, while others still start, is no failure to start
        text = f"supervisor {parent.name} shut down: significant child {child.name} has ended"
        stopping.collapse(tree, parent, ExitReason("shutdown", text, cause=child.reason))


def stopped(tree: Tree, child: Child, reason: ExitReason) -> None:
    """A child ended because it was asked to, or while it was about to be."""
    unexpected = reason.abnormal and not _killed_on_purpose(child, reason)
    if child.phase is not Phase.DOWN and unexpected:
        tree.report("shutdown_error", child, "shutdown", reason)
    _rest(tree, child, reason)
    for request in child.stoppers:
        tree.reply(request, {"id": child.name})
    child.stoppers.clear()
    if child.parent is None:
        _finish(tree, reason)
        return
    spent = _drop_if_spent(tree, child, child.parent)
    if spent or child.held or child.parent.phase in (Phase.STOPPING, Phase.DOWN):
        tree.refuse_start(child, f"child {child.name} was stopped before it was ready")
    release(tree, child)


def _killed_on_purpose(child: Child, reason: ExitReason) -> bool:
    brutal = child.parent is not None and child.parent.brutal
    return reason.kind == "killed" and (brutal or child.spec.shutdown == "brutal_kill")


def _absorbed(child: Child) -> bool:
    # Its supervisor is stopping it, alone or with itself: there is nothing to restart.
    return child.doomed or (child.parent is not None and child.parent.phase in (Phase.STOPPING, Phase.DOWN))


def _rest(tree: Tree, child: Child, reason: ExitReason) -> None:
    tree.cancel_timer(child)
    child.phase = Phase.DOWN
    child.pid = None
    child.info = None
    child.reason = reason
    child.doomed = child.hung = child.killed = child.kill_wanted = False


def _drop_if_spent(tree: Tree, child: Child, parent: Supervisor) -> bool:
    spent = child.spec.restart == "temporary" or parent.dynamic
    if spent:
        forget(tree, child)
    return spent


def _finish(tree: Tree, reason: ExitReason) -> None:
    tree.over = True
    kill_unclaimed(tree)
    tree.emit(Exit(reason))


def kill_unclaimed(tree: Tree) -> None:
    """No supervisor wanted these processes: nothing may live outside the tree."""
    for process in tree.adopted.values():
        if process.pid:
            tree.emit(Kill(process.spec.id, process.pid))
    tree.adopted.clear()
