"""Changing a supervisor while it runs (OTP: code_change of a supervisor).

Processes are left alone. New flags count from the next decision on, a new child specification from the
child's next start. A child that is new is entered but not started: `restart_child` starts it. One that is
no longer mentioned stays as long as it is not stopped and deleted, but a rebuild does not bring it back.
"""

from actors.supervision.growth import add, name_clash
from actors.supervision.nodes import Supervisor, Tree
from actors.supervision.spec import ChildSpec, InvalidSpecError
from actors.supervision.starting import instance


def change_supervisor(tree: Tree, supervisor: Supervisor, spec: ChildSpec) -> None:
    """Take over flags and children of `spec`, and of the supervisors nested in it.

    Raises:
        InvalidSpecError: naming what cannot be changed live or clashes; nothing has been changed then.
    """
    if problems := _problems(tree, supervisor, spec):
        raise InvalidSpecError(spec.id, problems)
    _apply(tree, supervisor, spec)


def _problems(tree: Tree, supervisor: Supervisor, spec: ChildSpec) -> list[str]:
    problems = []
    if spec.id != supervisor.name or spec.type != "supervisor":
        problems.append(f"id: the change is for {spec.id!r}, not for supervisor {supervisor.name!r}")
    elif (spec.supervision.strategy == "dynamic") is not supervisor.dynamic:
        problems.append("strategy: cannot change to or from dynamic while it runs")
    elif not supervisor.dynamic:
        for child in spec.children:
            problems += _child_problems(tree, supervisor, child)
    return problems


def _child_problems(tree: Tree, supervisor: Supervisor, spec: ChildSpec) -> list[str]:
    present = supervisor.children.get(spec.id)
    if isinstance(present, Supervisor) and spec.type == "supervisor":
        return _problems(tree, present, spec)
    if present is not None:
        return (
            [] if present.spec.type == spec.type else [f"type: of {spec.id!r} cannot change while it exists"]
        )
    taken = name_clash(tree, supervisor, spec)
    return [f"id: {taken!r} is taken elsewhere in the tree"] if taken is not None else []


def _apply(tree: Tree, supervisor: Supervisor, spec: ChildSpec) -> None:
    supervisor.spec = spec
    if supervisor.parent is not None and supervisor.name in supervisor.parent.template:
        supervisor.parent.template[supervisor.name] = spec
    if supervisor.dynamic:
        for child in supervisor.children.values():
            child.spec = instance(supervisor.pattern, child.name, child.spec.args)
    else:
        _apply_children(tree, supervisor, spec)


def _apply_children(tree: Tree, supervisor: Supervisor, spec: ChildSpec) -> None:
    for name in supervisor.template:
        tree.reserved.pop(name, None)
    supervisor.template = {child.id: child for child in spec.children}
    for child_spec in spec.children:
        tree.reserved[child_spec.id] = supervisor.name
        present = supervisor.children.get(child_spec.id)
        if present is None:
            add(tree, supervisor, child_spec)
        elif isinstance(present, Supervisor):
            _apply(tree, present, child_spec)
        else:
            present.spec = child_spec
    _reorder(supervisor)


def _reorder(supervisor: Supervisor) -> None:
    extra = [name for name in supervisor.children if name not in supervisor.template]
    former = supervisor.children
    supervisor.children = {name: former[name] for name in [*supervisor.template, *extra]}
    for order, child in enumerate(supervisor.children.values(), start=1):
        child.order = order
    supervisor.last_order = len(supervisor.children)
