"""Keys of clients on other hosts: metadata."""

from dataclasses import dataclass

from actors.messages.declare import operation


@operation("keys.server", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class KeysServer:
    """How a client on another host finds this daemon and knows it.

    Answer: `endpoint` (empty: it does not listen), `public` (its key, in Z85), `node`.
    """


@operation("keys.allow", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class KeysAllow:
    """Let the holder of a key in; `role` is observer, operator or admin. An earlier key of that name goes."""

    name: str
    public: str
    role: str = "operator"


@operation("keys.revoke", "metadata")
@dataclass(frozen=True, slots=True)
class KeysRevoke:
    """Let the holder of a key in no more, and hear nothing more of who is in. Not found: no such name."""

    name: str


@operation("keys.list", "metadata", repeatable=True)
@dataclass(frozen=True, slots=True)
class KeysList:
    """Who may come in. Answer: `keys`, each with name, public, role, created_at."""
