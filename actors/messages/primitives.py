"""Network primitives for programs: network. An empty `netns` is the host's own namespace."""

from dataclasses import dataclass, field

from actors.messages.declare import Json, Number, operation


@operation("netns.create", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetnsCreate:
    """Make a named network namespace, its loopback up. It outlives every process. Answer: `path`."""

    name: str


@operation("netns.list", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetnsList:
    """Answer: `namespaces`, each with name and path."""


@operation("netns.remove", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetnsRemove:
    """Remove a named network namespace with its interfaces. One that is gone is no error."""

    name: str


@operation("netns.run", "network")
@dataclass(frozen=True, slots=True)
class NetnsRun:
    """Run a program of the host, as root, in a named namespace. Answer: exit_code, stdout, stderr.

    Attributes:
        args: the program and its arguments.
        stdin: text for its standard input.
        limit: seconds after which it is killed, at most 300.
    """

    netns: str
    args: list[str]
    stdin: str = ""
    limit: float = 30.0


@operation("links.list", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class LinksList:
    """Answer: `links`, each with index, name, kind, alias, up, mtu, mac, master and addresses."""

    netns: str = ""


@operation("links.create", "network")
@dataclass(frozen=True, slots=True)
class LinksCreate:
    """Make an interface: a veth with its `peer`, a bridge, or a macvlan, vlan or vxlan.

    Attributes:
        peer: of a veth: the name of its other end, in `peer_netns`.
        options: macvlan: parent, mode; vlan: parent, id; vxlan: vni, port, local.
    """

    name: str
    kind: str
    netns: str = ""
    peer: str = ""
    peer_netns: str = ""
    options: Json = field(default_factory=dict)


@operation("links.change", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class LinksChange:
    """Change an interface: what is not said stays. It is moved last.

    Attributes:
        addresses: to be added, as `10.0.0.2/24`.
        mtu: bytes, 0 to leave it.
        bridge: an interface of the same namespace whose port it becomes.
        gateway: a default route through it.
        move_to: the named namespace that it goes to.
    """

    name: str
    netns: str = ""
    up: bool | None = None
    addresses: list[str] = field(default_factory=list)
    mtu: Number = 0
    mac: str = ""
    bridge: str = ""
    gateway: str = ""
    move_to: str = ""


@operation("links.remove", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class LinksRemove:
    """Remove an interface. One that is gone is no error."""

    name: str
    netns: str = ""
