"""Names of containers: resolver."""

from dataclasses import dataclass

from actors.messages.declare import operation


@operation("resolver.refresh", "resolver", repeatable=True)
@dataclass(frozen=True, slots=True)
class ResolverRefresh:
    """Names have changed: ask the network actor for them. Answered when the new ones are served."""
