"""Other nodes, and links to them: nodes."""

from dataclasses import dataclass

from actors.messages.declare import Json, operation


@operation("nodes.join", "nodes", repeatable=True)
@dataclass(frozen=True, slots=True)
class NodesJoin:
    """Enter a node, or its new address and keys, and keep a link to it.

    Attributes:
        connection: a connection file's content.
    """

    name: str
    connection: Json


@operation("nodes.leave", "nodes")
@dataclass(frozen=True, slots=True)
class NodesLeave:
    """Strike a node, and end the link. Not found: no such name."""

    name: str


@operation("nodes.get", "nodes", repeatable=True)
@dataclass(frozen=True, slots=True)
class NodesGet:
    """How to reach a node: its connection file's content, with the secret key. Not for other hosts."""

    name: str


@operation("nodes.list", "nodes", repeatable=True)
@dataclass(frozen=True, slots=True)
class NodesList:
    """The nodes that are joined, and those that have joined this one. Answer: `own`, our name; `nodes`.

    Each has name, link (`joined`, `accepted`), state (`new`, `up`, `suspect`, `down`), since (nanoseconds of
    the epoch), phi (how unlikely its silence is, as -log10); one that is joined also endpoint, role, error,
    round_trip (seconds, of the last heartbeat); one that has only joined us, the `key` with which it came.
    """


@operation("nodes.beat", "nodes", repeatable=True)
@dataclass(frozen=True, slots=True)
class NodesBeat:
    """Said every second by a node that has joined this one, from its host. Answer: `node`, `instance`.

    Attributes:
        node: what it calls itself.
    """

    node: str
