"""Networks: which are on record, and which of them are known to be made, or are being removed."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from actors.linux import links
from actors.networking import wishes
from actors.networking.in_order import Done, Work
from actors.networking.plan import Wish as NewNetwork
from actors.networking.plan import plan
from actors.networking.wiring import Wiring
from storage.errors import FailedPreconditionError
from storage.networks import Network, NetworkStore

log = logging.getLogger("network")


class Networks:
    """For one thread, but for `ensure`.

    Attributes:
        made: those whose interfaces are known to be there.
    """

    def __init__(self, store: NetworkStore, wiring: Wiring, begin: Callable[[Work, Done], None]) -> None:
        """`begin` has something done elsewhere, and then tells what came of it."""
        self.made: set[str] = set()
        self._going: set[str] = set()  # those whose interfaces are being removed
        self._store = store
        self._wiring = wiring
        self._begin = begin

    def create(self, wish: NewNetwork) -> Network:
        """Choose what was not said, and record it. Raises StorageError."""
        return self._store.create(plan(wish, self._wiring.scope, self._store.networks(), links.routes()))

    def wanted(self, name: str) -> Network:
        """A network by its name; the default one is made when it is first asked for. Raises StorageError."""
        self.refuse_going(name)
        if name == wishes.DEFAULT_NETWORK and all(one.name != name for one in self._store.networks()):
            return self.create(NewNetwork(name))
        return self._store.get(name)

    def refuse_going(self, name: str) -> None:
        """Raises FailedPreconditionError: it is being removed."""
        if name in self._going:
            raise FailedPreconditionError(f"network {name} is being removed")

    def unused(self) -> list[Network]:
        """Those that nobody is on, but for the default one."""
        used = {one.network for one in self._store.endpoints()} | {wishes.DEFAULT_NETWORK}
        return [one for one in self._store.networks() if one.name not in used | self._going]

    def ensure(self, network: Network) -> None:
        """In a worker thread: have its interfaces there, if they are not known to be. Raises as `Wiring`."""
        if network.name not in self.made:
            self._wiring.ensure_network(network)

    def unmake(self, network: Network) -> None:
        """Whoever asked for it is told that there is none, and asks anew once that can be."""
        self.made.discard(network.name)
        self._store.delete(network.name)
        self._begin(lambda: self._wiring.remove_network(network), _logged)

    def take_away(self, networks: Sequence[Network], then: Done) -> None:
        """Interfaces first, then the record: cut off, it can be done again. `then` is told None, or why."""
        self._going |= {one.name for one in networks}

        def work() -> None:
            for network in networks:
                self._wiring.remove_network(network)

        def gone(result: Any) -> None:
            self._going -= {one.name for one in networks}
            if not isinstance(result, Exception):
                for network in networks:
                    self.made.discard(network.name)
                    self._store.delete(network.name)
            then(result)

        self._begin(work, gone)


def _logged(result: Any) -> None:
    if isinstance(result, Exception):
        log.warning("%s", result)
