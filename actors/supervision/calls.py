"""The operations that a person or an actor may ask of a supervisor, with OTP's answers.

Every call names its `supervisor`. Queries are answered at once in any state; the others are answered when
their effect is complete, or refused. Each call gets exactly one answer.
"""

from collections.abc import Callable

from actors.supervision import plan, stopping
from actors.supervision.change import change_supervisor
from actors.supervision.effects import ErrorCode, ReplyError
from actors.supervision.events import Call
from actors.supervision.growth import add, forget, name_clash, undeclare
from actors.supervision.nodes import UP, Cause, Child, Phase, Supervisor, Tree
from actors.supervision.readout import child_entry, counts, spec_of
from actors.supervision.spec import ChildSpec, InvalidSpecError
from actors.supervision.spec_check import significance_problems
from actors.supervision.starting import instance


class RefusedError(Exception):
    """A call cannot be carried out."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def answer(tree: Tree, call: Call) -> None:
    """Carry out a call, or refuse it with one of the codes of `effects.ErrorCode`."""
    try:
        operation = _operation(call)
        operation(tree, call, _supervisor(tree, call))
    except RefusedError as refused:
        tree.emit(ReplyError(call.request, refused.code, str(refused)))
    except InvalidSpecError as invalid:
        tree.emit(ReplyError(call.request, "invalid_argument", str(invalid)))


def start_child(tree: Tree, call: Call, supervisor: Supervisor) -> None:
    """Add a child and start it: `spec`, or for a dynamic supervisor `id` and `args`.

    Answered when it is ready. If it cannot start, nothing of it stays behind.
    """
    if supervisor.phase not in UP:
        raise RefusedError("unavailable", f"supervisor {supervisor.name} is not running: try again later")
    if supervisor.dynamic:
        spec = instance(supervisor.pattern, call.arguments.get("id"), call.arguments.get("args"))
    else:
        given = call.arguments.get("spec")
        spec = given if isinstance(given, ChildSpec) else ChildSpec.from_dict(given)
        if problems := significance_problems(supervisor.spec.supervision, [spec]):
            raise InvalidSpecError(spec.id, problems)
    _refuse_taken(tree, supervisor, spec)
    child = add(tree, supervisor, spec)
    child.starter = call.request
    plan.launch(tree, child, Cause.ADDED)


def _refuse_taken(tree: Tree, supervisor: Supervisor, spec: ChildSpec) -> None:
    present = supervisor.children.get(spec.id)
    if present is not None and present.phase is Phase.DOWN:
        raise RefusedError(
            "already_present", f"child {spec.id} exists and does not run: restart or delete it"
        )
    if present is not None:
        raise RefusedError("already_started", f"child {spec.id} is {present.phase}, pid {present.pid}")
    taken = name_clash(tree, supervisor, spec)
    if taken is not None:
        owner = tree.nodes[taken].parent if taken in tree.nodes else None
        where = owner.name if owner else tree.reserved.get(taken, tree.root.name)
        raise RefusedError("already_started", f"name {taken} is taken under supervisor {where}")


def restart_child(tree: Tree, call: Call, supervisor: Supervisor) -> None:
    """Start a child that is down, with the specification it has. Answered when it is ready."""
    child = _child(call, supervisor)
    _refuse_unless_down(child)
    if supervisor.phase not in UP:
        raise RefusedError("unavailable", f"supervisor {supervisor.name} is not running: try again later")
    child.held = False
    child.starter = call.request
    plan.launch(tree, child, Cause.REVIVED)


def delete_child(tree: Tree, call: Call, supervisor: Supervisor) -> None:
    """Remove the specification of a child that is down, for good."""
    child = _child(call, supervisor)
    _refuse_unless_down(child)
    undeclare(tree, child)
    forget(tree, child)
    tree.reply(call.request, {"id": child.name})


def _refuse_unless_down(child: Child) -> None:
    if child.phase is Phase.RESTARTING:
        raise RefusedError("restarting", f"child {child.name} is between two restarts: terminate it first")
    if child.phase is not Phase.DOWN:
        raise RefusedError("running", f"child {child.name} is {child.phase}, pid {child.pid}")
    queued = child.parent is not None and not child.held and child in child.parent.plan.starts
    if queued or child.starter is not None:
        raise RefusedError("restarting", f"child {child.name} is about to be started: terminate it first")


def terminate_child(tree: Tree, call: Call, supervisor: Supervisor) -> None:
    """Stop a child and keep it stopped, until restart_child. Answered when it is down; twice is fine.

    It works in every state of the child and of its supervisor: while starting, between two restarts,
    and while the supervisor itself waits to come back.
    """
    name = call.arguments.get("id")
    if (
        supervisor.dynamic
        and name not in supervisor.children
        and tree.owners.get(str(name)) == supervisor.name
    ):
        tree.reply(call.request, {"id": name})
        return
    child = _child(call, supervisor)
    child.held = True
    if child.phase is not Phase.DOWN:
        child.stoppers.append(call.request)
        stopping.begin(tree, child)
        return
    tree.reply(call.request, {"id": child.name})
    tree.refuse_start(child, f"child {child.name} was stopped before it was ready")
    if child.spec.restart == "temporary" and child.name not in supervisor.template:
        forget(tree, child)


def which_children(tree: Tree, call: Call, supervisor: Supervisor) -> None:
    """All children in order, with state and pid."""
    tree.reply(call.request, [child_entry(child) for child in supervisor.children.values()])


def count_children(tree: Tree, call: Call, supervisor: Supervisor) -> None:
    """How many specifications, active children, supervisors and workers there are."""
    tree.reply(call.request, counts(supervisor))


def get_child_spec(tree: Tree, call: Call, supervisor: Supervisor) -> None:
    """The specification in force, with its defaults; that of the supervisor itself if no `id` is given."""
    child = supervisor if call.arguments.get("id") is None else _child(call, supervisor)
    tree.reply(call.request, spec_of(child).to_dict())


def change(tree: Tree, call: Call, supervisor: Supervisor) -> None:
    """Change flags and children to those of `spec` without a restart: see `change.change_supervisor`."""
    given = call.arguments.get("spec")
    spec = given if isinstance(given, ChildSpec) else ChildSpec.from_dict(given)
    change_supervisor(tree, supervisor, spec)
    tree.reply(call.request, {"id": supervisor.name})


def _operation(call: Call) -> Callable[[Tree, Call, Supervisor], None]:
    if call.operation not in OPERATIONS:
        raise RefusedError("invalid_argument", f"no operation {call.operation!r}")
    return OPERATIONS[call.operation]


def _supervisor(tree: Tree, call: Call) -> Supervisor:
    if tree.over:
        raise RefusedError("unavailable", "the supervision tree has ended")
    name = call.arguments.get("supervisor")
    node = tree.nodes.get(name) if isinstance(name, str) else None
    if not isinstance(node, Supervisor):
        raise RefusedError("not_found", f"no supervisor {name!r}")
    return node


def _child(call: Call, supervisor: Supervisor) -> Child:
    name = call.arguments.get("id")
    child = supervisor.children.get(name) if isinstance(name, str) else None
    if child is None:
        raise RefusedError("not_found", f"supervisor {supervisor.name} has no child {name!r}")
    return child


OPERATIONS: dict[str, Callable[[Tree, Call, Supervisor], None]] = {
    "start_child": start_child,
    "restart_child": restart_child,
    "delete_child": delete_child,
    "terminate_child": terminate_child,
    "which_children": which_children,
    "count_children": count_children,
    "get_child_spec": get_child_spec,
    "change": change,
}
