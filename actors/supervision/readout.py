"""What a supervisor shows of itself. Reading changes nothing and works in every state."""

from dataclasses import replace

from actors.supervision.nodes import Child, Phase, Supervisor
from actors.supervision.spec import ChildSpec


def child_entry(child: Child) -> dict[str, object]:
    """One child, as which_children shows it."""
    return {
        "id": child.name,
        "kind": child.spec.kind,
        "type": child.spec.type,
        "state": child.phase.value,
        "pid": child.pid,
        "incarnation": child.incarnation,
        "held": child.held,
        "reason": child.reason.to_dict() if child.reason is not None else None,
    }


def counts(supervisor: Supervisor) -> dict[str, int]:
    """What count_children answers. Children that start, sleep or wait for a restart are not active."""
    children = supervisor.children.values()
    supervisors = sum(child.spec.type == "supervisor" for child in children)
    return {
        "specs": 1 if supervisor.dynamic else len(children),
        "active": sum(child.phase in (Phase.RUNNING, Phase.STOPPING) for child in children),
        "supervisors": supervisors,
        "workers": len(children) - supervisors,
    }


def spec_of(child: Child) -> ChildSpec:
    """The specification in force: of a supervisor, with the children it would be rebuilt with."""
    if isinstance(child, Supervisor) and not child.dynamic:
        nested = {name: below for name, below in child.children.items() if name in child.template}
        children = tuple(
            spec_of(nested[name]) if name in nested else spec for name, spec in child.template.items()
        )
        return replace(child.spec, children=children)
    return child.spec
