"""Starting a child: a fork for a leaf, a plan for a supervisor, neither for one that lives already."""

from dataclasses import replace

from actors.supervision.effects import Restore, Spawn
from actors.supervision.events import Adopt
from actors.supervision.growth import add
from actors.supervision.nodes import Cause, Child, Phase, Signal, Supervisor, Tree
from actors.supervision.spec import ChildSpec, InvalidSpecError


def begin(tree: Tree, child: Child, cause: Cause) -> None:
    """Start a child that is down. It is up, failed, ignored or ended when a signal says so."""
    child.phase = Phase.STARTING
    child.cause = cause
    child.was_up = child.doomed = child.hung = child.killed = child.kill_wanted = False
    if not child.spec.enabled:
        tree.signal(Signal.IGNORED, child)
    elif isinstance(child, Supervisor):
        _begin_supervisor(tree, child)
    elif (process := tree.adopted.pop(child.name, None)) is not None and process.pid:
        take_over(tree, child, process)
    else:
        _number(tree, child)
        tree.emit(Spawn(child.name, child.spec, child.incarnation))


def _number(tree: Tree, child: Child) -> None:
    child.incarnation = tree.incarnations.get(child.name, 0) + 1
    tree.incarnations[child.name] = child.incarnation
    if child.parent is not None:
        tree.owners[child.name] = child.parent.name


def _begin_supervisor(tree: Tree, supervisor: Supervisor) -> None:
    _number(tree, supervisor)
    supervisor.exit_reason = None
    supervisor.brutal = False
    if supervisor.dynamic:
        _claim(tree, supervisor)
    supervisor.plan.starts.extend(supervisor.children.values())
    tree.signal(Signal.ADVANCE, supervisor)


def _claim(tree: Tree, supervisor: Supervisor) -> None:
    mine = [process for process in tree.adopted.values() if process.supervisor == supervisor.name]
    for process in mine:
        child = adopt_dynamic(tree, supervisor, process)
        if child is not None:
            del tree.adopted[process.spec.id]


def adopt_dynamic(tree: Tree, supervisor: Supervisor, process: Adopt) -> Child | None:
    """Make a living process a child of a dynamic supervisor; None if its name is not free."""
    name = process.spec.id
    if name in tree.nodes or name in tree.reserved:
        return None
    child = add(tree, supervisor, instance(supervisor.pattern, name, process.spec.args))
    take_over(tree, child, process)
    return child


def instance(pattern: ChildSpec, name: object, args: object) -> ChildSpec:
    """The specification of a dynamic child: the template with a name, and `args` laid over its own.

    Raises:
        InvalidSpecError: when the name or the arguments are not fit for one.
    """
    plain = pattern.to_dict()
    own = dict(pattern.args)
    if isinstance(args, dict):
        own.update(args)
    elif args is not None:
        raise InvalidSpecError(name, ["args: must be a map"])
    return ChildSpec.from_dict({**plain, "id": name, "args": own})


def take_over(tree: Tree, child: Child, process: Adopt) -> None:
    """Enter a living process as the running child, or one that sleeps as asleep, without a start."""
    tree.incarnations[child.name] = max(process.incarnation, tree.incarnations.get(child.name, 0))
    if child.parent is not None:
        tree.owners[child.name] = child.parent.name
    child.incarnation = process.incarnation
    child.cause = Cause.ADOPTED
    child.was_up = child.doomed = child.hung = child.killed = child.kill_wanted = False
    if process.pid:
        enter_running(tree, child, process.pid, process.info)
    else:
        child.phase = Phase.ASLEEP


def enter_running(tree: Tree, child: Child, pid: int | None, info: object) -> None:
    """The child is ready: its healthy time starts now."""
    child.phase = Phase.RUNNING
    child.pid = pid
    child.info = info
    child.started_at = tree.now
    child.was_up = True
    tree.signal(Signal.UP, child)


def announce(tree: Tree, child: Child) -> None:
    """Tell the world that a child runs, and answer the call that asked for it."""
    tree.report("progress", child, child.cause.value)
    if child.starter is not None:
        tree.reply(child.starter, started_result(child))
        child.starter = None
    if child.spec.restart == "temporary" and not isinstance(child, Supervisor):
        child.spec = replace(child.spec, args={})  # never needed again, and may be large: OTP drops them too
    if isinstance(child, Supervisor) and child.dynamic:
        tree.emit(Restore(child.name))


def started_result(child: Child) -> dict[str, object]:
    """What start_child and restart_child answer; the pid is None for a child that chose not to run."""
    return {"id": child.name, "pid": child.pid, "incarnation": child.incarnation, "info": child.info}
