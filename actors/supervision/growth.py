"""How the tree gains and loses entries: building it from specifications, forgetting, rebuilding.

A supervisor that ends leaves its static children in the list, all down, as they were declared: they
keep their names, and what a person has stopped stays stopped when the supervisor comes back.
"""

from collections.abc import Callable

from actors.supervision.nodes import Child, Phase, Supervisor, Tree
from actors.supervision.spec import ChildSpec, InvalidSpecError


def retire(tree: Tree, name: str) -> bool:
    """Forget which incarnations a name has had, unless it is in use or declared; returns whether."""
    if name in tree.nodes or name in tree.adopted or name in tree.reserved:
        return False
    tree.owners.pop(name, None)
    return tree.incarnations.pop(name, None) is not None


def new_tree(spec: ChildSpec, jitter: Callable[[], float]) -> Tree:
    """A tree that has not booted. `jitter` gives numbers from 0 to 1.

    Raises:
        InvalidSpecError: when the root is not a supervisor.
    """
    if spec.type != "supervisor":
        raise InvalidSpecError(spec.id, ["type: the root must be a supervisor"])
    root = Supervisor(spec, None)
    tree = Tree(root, jitter)
    _register(tree, root)
    return tree


def add(tree: Tree, parent: Supervisor, spec: ChildSpec) -> Child:
    """Append a child, down, with all that is declared below it. The caller has checked the names."""
    child = Supervisor(spec, parent) if spec.type == "supervisor" else Child(spec, parent)
    parent.last_order += 1
    child.order = parent.last_order
    parent.children[spec.id] = child
    _register(tree, child)
    return child


def _register(tree: Tree, child: Child) -> None:
    tree.nodes[child.name] = child
    if isinstance(child, Supervisor) and not child.dynamic:
        for spec in child.spec.children:
            child.template[spec.id] = spec
            tree.reserved[spec.id] = child.name
            add(tree, child, spec)


def forget(tree: Tree, child: Child) -> None:
    """Remove a child that is down, and all below it, from the tree."""
    if child.parent is not None:
        child.parent.children.pop(child.name, None)
    tree.nodes.pop(child.name, None)
    if isinstance(child, Supervisor):
        for name in child.template:
            tree.reserved.pop(name, None)
        for below in list(child.children.values()):
            forget(tree, below)


def undeclare(tree: Tree, child: Child) -> None:
    """Take a child out of its supervisor's template too, so that no rebuild brings it back."""
    if child.parent is not None and child.parent.template.pop(child.name, None) is not None:
        tree.reserved.pop(child.name, None)


def rebuild(tree: Tree, supervisor: Supervisor) -> None:
    """Put a supervisor that is down back to its template."""
    supervisor.restarts.clear()
    supervisor.plan.clear()
    for child in list(supervisor.children.values()):
        if child.name not in supervisor.template:
            forget(tree, child)
    former = dict(supervisor.children)
    supervisor.children.clear()
    for name, spec in supervisor.template.items():
        if name in former:
            _keep(supervisor, former[name], spec)
        else:
            add(tree, supervisor, spec)


def _keep(supervisor: Supervisor, child: Child, spec: ChildSpec) -> None:
    child.spec = spec
    child.failures = 0
    supervisor.last_order += 1
    child.order = supervisor.last_order
    supervisor.children[child.name] = child


def name_clash(tree: Tree, parent: Supervisor, spec: ChildSpec) -> str | None:
    """The first name of `spec` that belongs to somebody else in the tree, or None."""
    for name in spec.names():
        if name in tree.nodes or tree.reserved.get(name, parent.name) != parent.name:
            return name
    return None


def alive_children(supervisor: Supervisor) -> list[Child]:
    """The children that run, start, stop or wait for a restart, first to last."""
    return [child for child in supervisor.children.values() if child.phase is not Phase.DOWN]
