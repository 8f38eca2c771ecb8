"""All operations whose crash points can be enumerated, by the name that `bin/chaos --enumerate` takes."""

from __future__ import annotations

from typing import Final

from chaos.networks import Attach, Connect, Detach, Disconnect
from chaos.operations import (
    Collect,
    Commit,
    Create,
    Exec,
    Fetch,
    Leave,
    Operation,
    Pull,
    Remove,
    Sleep,
    Start,
)

OPERATIONS: Final[dict[str, type[Operation]]] = {
    "pull": Pull,
    "fetch": Fetch,
    "commit": Commit,
    "gc": Collect,
    "create": Create,
    "start": Start,
    "exec": Exec,
    "sleep": Sleep,
    "remove": Remove,
    "leave": Leave,
    "connect": Connect,
    "disconnect": Disconnect,
    "attach": Attach,
    "detach": Detach,
}
