"""Network namespaces: network."""

from dataclasses import dataclass

from actors.messages.declare import operation


@operation("network.attach", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkAttach:
    """Make sure that the container has its network namespace. Answer: `path`."""

    namespace: str
    id: str


@operation("network.detach", "network", repeatable=True)
@dataclass(frozen=True, slots=True)
class NetworkDetach:
    """Remove the container's network namespace. One that is gone is no error."""

    namespace: str
    id: str
