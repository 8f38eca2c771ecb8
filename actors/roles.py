"""What a key of another host may do (`actr keys`). Pure.

An observer sees, and changes nothing. To attach to a transfer or a job is more than that: it may begin the
work (anew), with logins that come along, and whoever leaves last ends it. An operator works with containers,
images and networks; that is as much as root on this host, since a container may mount any directory of it. An
admin changes who may come in, and the daemon itself. Some operations are between the actors of one host, or
about descriptors and directories of it: those are open to nobody from outside. What no list names is refused.
"""

from typing import Any, Final

from transport.envelope import Envelope
from transport.errors import ProtocolError


def _named(**services: str) -> frozenset[str]:
    """Operations by their services: `tasks="start stop"`."""
    return frozenset(f"{service}.{verb}" for service, verbs in services.items() for verb in verbs.split())


OBSERVER: Final = _named(
    containers="get list",
    tasks="state processes stats wait exec_wait output",
    images="get list",
    namespaces="list",
    leases="list list_resources",
    content="info list missing read status statuses",
    snapshots="stat list usage layers",
    events="subscribe recent",
    introspection="version info actors",
    actors="watch",
    metrics="address figures overview scrape usage",
    network="get list ports",
    netns="list",
    links="list",
    volumes="get list",
    system="df",
    failpoints="list",
    keys="server",
    nodes="list beat",
    router="peers ping traffic",
)
OPERATOR: Final = _named(
    bundles="spec",
    children="start",
    containers="create remove rename networks want",
    tasks="create start let_run delete kill stop restart pause resume update checkpoint restore"
    " exec exec_add exec_start exec_delete input close_io resize",
    files="get put",
    images="put create update delete pull",
    transfers="start attach",
    jobs="start attach",
    namespaces="create update delete",
    leases="create delete add_resource delete_resource",
    content="update delete abort",
    snapshots="update",
    network="create remove connect disconnect prune check",
    volumes="create remove prune",
    gc="run",
    system="prune check",
)
ADMIN: Final = _named(
    keys="allow revoke list",
    nodes="join leave",
    system="repair",
    supervision="call",
    failpoints="set",
    netns="create remove run",
    links="create change remove",
)
LENDING: Final = frozenset({"load", "containerd", "save", "export", "import", "diff", "mount"})
"""Jobs that work with a descriptor or a directory of their client's."""
_ALLOWED: Final = {
    "observer": OBSERVER,
    "operator": OBSERVER | OPERATOR,
    "admin": OBSERVER | OPERATOR | ADMIN,
}
_FIRST: Final = (("observer", OBSERVER), ("operator", OPERATOR), ("admin", ADMIN))


def is_audited(op: str) -> bool:
    """Whether it changes something, more than what a terminal shows."""
    return op not in OBSERVER and op not in ("tasks.input", "tasks.resize")


def refusal(role: str, request: Envelope) -> str:
    """Why a key of that role may not ask this; empty when it may."""
    if request.op not in _ALLOWED.get(role, ()):
        needed = next((name for name, operations in _FIRST if request.op in operations), "")
        if needed:
            return f"{request.op} needs the role {needed}, this key is of an {role}"
        return f"{request.op} is for the daemon's own host only"
    if request.op == "jobs.start" and (work := str(_body(request).get("work", ""))) in LENDING:
        return f"{work} reads or writes a file of its client: run it on the daemon's host"
    if request.op == "children.start" and not _is_for_a_record(_body(request)):
        return "children.start is, of all but the containers on record, for the daemon's own host only"
    return ""


def _is_for_a_record(start: dict[str, Any]) -> bool:
    """A client that lost the answer to its creation has the actor of what is on record started."""
    return start.get("kind") == "container" and not start.get("told")


def _body(request: Envelope) -> dict[str, Any]:
    try:
        found: Any = request.value()
    except ProtocolError:
        return {}  # the supervisor refuses it
    return found if isinstance(found, dict) else {}
