"""Networks, and each container's part in them: network."""

from dataclasses import dataclass, field

from actors.messages.declare import Json, Labels, Number, operation


@operation("network.attach", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkAttach:
    """Make sure that the container has its network namespace, and its interfaces in it.

    Answer: `path` of the namespace (empty for the host's own), `hosts` (lists of an address and its names),
    `nameservers`, `ports` as they were published; with `userns` also that of the user namespace.

    Attributes:
        name: under which others on its networks find it.
        wish: how it is connected; see `actors.networking.wishes.Wish`. Empty: loopback only.
        userns: `UID:GID:SIZE` for a user namespace that owns the network namespace; empty for the host's.
    """

    namespace: str
    id: str
    name: str = ""
    wish: Json = field(default_factory=dict)
    userns: str = ""


@operation("network.detach", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkDetach:
    """Remove the container's interfaces and its namespace, free its addresses and ports.

    One that is gone is no error. What a plugin refuses to take back stays on record and is tried again: the
    answer's `left` says what that is, a text for each network.
    """

    namespace: str
    id: str


@operation("network.connect", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkConnect:
    """Give a container that runs one more interface, and again at each start. Answer: the endpoint.

    One that is there is no error.

    Attributes:
        wish: address, mac, aliases and rate; see `actors.networking.wishes.Connection`.
    """

    namespace: str
    id: str
    network: str
    name: str = ""
    wish: Json = field(default_factory=dict)


@operation("network.disconnect", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkDisconnect:
    """Take a container off a network, for its next starts too. One that is not on it is no error."""

    namespace: str
    id: str
    network: str


@operation("network.rename", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkRename:
    """Have others on its networks find the container under another name. One that is on none is no error."""

    namespace: str
    id: str
    name: str


@operation("network.create", "network")
@dataclass(frozen=True, slots=True)
class NetworkCreate:
    """Make a network. Answer: the network. What is not said is chosen.

    Attributes:
        kind: bridge, macvlan, vxlan or cni.
        subnets: at most one of IPv4 and one of IPv6, as `10.0.0.0/24`.
        gateways: the host's address in each (of a macvlan, the router's).
        ranges: the part of each subnet from which addresses are given out.
        parent: of a macvlan, the host's interface below it.
        mtu: bytes, 0 for the kernel's choice.
        internal: nothing gets out and nothing in.
        ipv6: choose an IPv6 subnet too.
        options: vxlan: vni, port, local, remotes; macvlan: mode; cni: config.
    """

    name: str
    kind: str = "bridge"
    subnets: list[str] = field(default_factory=list)
    gateways: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    parent: str = ""
    mtu: Number = 0
    internal: bool = False
    ipv6: bool = False
    options: Json = field(default_factory=dict)
    labels: Labels = field(default_factory=dict)


@operation("network.get", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkGet:
    """Answer: the network, and `endpoints`: who is on it."""

    name: str


@operation("network.list", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkList:
    """Answer: `networks`, each as `network.get` gives it, with the number of its endpoints instead."""


@operation("network.remove", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkRemove:
    """Remove a network that nobody is on. Its interface goes too."""

    name: str


@operation("network.prune", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkPrune:
    """Remove all networks that nobody is on, but the default one. Answer: `removed`, their names.

    What plugins have refused to take back of containers is tried once more; `left` in the answer says of what
    they refused again.
    """


@operation("network.ports", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkPorts:
    """Answer: `ports` that are published: protocol, host, host_port, container_port, namespace, container.

    An empty id means those of every container.
    """

    namespace: str = ""
    id: str = ""


@operation("network.names", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkNames:
    """What a resolver has to know.

    Answer: `zones`, one for each network on which the host has addresses: network, listen (those addresses),
    names (each name to its addresses) and others (of a container that is on further networks, its address
    here to those that are listened at there).
    """


@operation("network.check", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkCheck:
    """Compare what is wanted with what there is. Answer: `findings`, each with object, problem and mended.

    Attributes:
        mend: put right what can be.
    """

    mend: bool = False


@operation("network.backup", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkBackup:
    """Write a consistent copy of the records to an absolute path."""

    path: str
