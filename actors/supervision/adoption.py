"""Taking over processes that outlived the supervisor, so that its death costs no other actor its life.

Processes reported before Boot wait until their supervisor starts and claims them. One that registers
later is taken over where its name is vacant; where a newer incarnation has its place it is killed, since
one name never has two live processes.
"""

from actors.supervision.effects import Kill
from actors.supervision.events import Adopt
from actors.supervision.nodes import UP, Child, Phase, Supervisor, Tree
from actors.supervision.starting import adopt_dynamic, take_over


def adopt(tree: Tree, process: Adopt) -> None:
    """Take over a living process, now or at Boot; or kill it if there is no place for it."""
    name = process.spec.id
    if tree.booted:
        if process.pid and not (_is_known(tree, process) or _adopt_late(tree, process)):
            tree.emit(Kill(name, process.pid))
            tree.incarnations[name] = max(process.incarnation, tree.incarnations.get(name, 0))
        return
    rival = tree.adopted.get(name)
    if rival is not None and rival.pid != process.pid:
        older, process = sorted((rival, process), key=lambda p: (p.incarnation, p.pid))
        if older.pid:
            tree.emit(Kill(name, older.pid))
    tree.adopted[name] = process


def _is_known(tree: Tree, process: Adopt) -> bool:
    child = tree.nodes.get(process.spec.id)
    return child is not None and (child.pid, child.incarnation) == (process.pid, process.incarnation)


def _adopt_late(tree: Tree, process: Adopt) -> bool:
    if process.incarnation < tree.incarnations.get(process.spec.id, 0):
        return False
    child = tree.nodes.get(process.spec.id)
    if child is not None:
        return _fill_vacancy(tree, child, process)
    supervisor = tree.nodes.get(process.supervisor)
    if isinstance(supervisor, Supervisor) and supervisor.dynamic and supervisor.phase in UP:
        return adopt_dynamic(tree, supervisor, process) is not None
    return False


def _fill_vacancy(tree: Tree, child: Child, process: Adopt) -> bool:
    vacant = child.phase in (Phase.DOWN, Phase.RESTARTING) and not child.held and child.spec.enabled
    served = child.parent is not None and child.parent.phase in UP
    if isinstance(child, Supervisor) or not vacant or not served or child.incarnation == process.incarnation:
        return False
    tree.cancel_timer(child)
    take_over(tree, child, process)
    return True
