"""Our table of the packet filter: made of what is on record, and put in place as a whole."""

from collections.abc import Callable
from typing import Any

from actors.linux import nft
from actors.networking import publishing
from actors.networking.in_order import Done, Work
from actors.networking.rules import Bridge, ruleset
from storage.networks import NetworkStore


class Table:
    """For one thread. What is asked for while it is being loaded goes into the next round, together."""

    def __init__(self, name: str, store: NetworkStore, begin: Callable[[Work, Done], None]) -> None:
        """`begin` has something done elsewhere, and then tells what came of it."""
        self.name = name
        self._store = store
        self._begin = begin
        self._waiting: list[Done] = []
        self._loading = False

    def load(self, then: Done) -> None:
        """Put it in place, as the record is now or later; `then` is told what came of it."""
        self._waiting.append(then)
        if not self._loading:
            self._load()

    def _load(self) -> None:
        taken, self._waiting = self._waiting, []
        self._loading = True
        text = self.text()

        def loaded(result: Any) -> None:
            self._loading = False
            for then in taken:
                then(result)
            if self._waiting and not self._loading:
                self._load()

        self._begin(lambda: nft.load(text), loaded)

    def text(self) -> str:
        """What nft reads."""
        networks, ends = self._store.networks(), self._store.endpoints()
        bridges = [
            Bridge(one.interface, one.subnets, one.internal)
            for one in networks
            if one.kind in ("bridge", "vxlan")
        ]
        return ruleset(self.name, bridges, publishing.behind(self._store.ports(), ends, networks))
