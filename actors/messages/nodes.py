"""Other nodes that this daemon's clients reach by name: metadata."""

from dataclasses import dataclass

from actors.messages.declare import Json, operation


@operation("nodes.join", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class NodesJoin:
    """Enter a node, or its new address and keys: `connection` is a connection file's content."""

    name: str
    connection: Json


@operation("nodes.leave", "metadata")
@dataclass(frozen=True, slots=True)
class NodesLeave:
    """Strike a node. Not found: no such name."""

    name: str


@operation("nodes.get", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class NodesGet:
    """How to reach a node: its connection file's content, with the secret key. Not for other hosts."""

    name: str


@operation("nodes.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class NodesList:
    """The nodes that are known. Answer: `own`, this one's name; `nodes`, each with name, endpoint, role."""
