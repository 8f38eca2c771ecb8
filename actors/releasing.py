"""Leases of actors that will not be back: whatever they held goes with them, not when a lease expires."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final

from actors import messages as m
from actors.actor import Actor
from actors.paging import gather
from actors.roster import kind_of

LIMIT: Final = 600.0  # seconds for metadata to be there
_LEASED: Final = frozenset({"puller", "job"})


class Releasing:
    """For the supervisor, which hears first of every end."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._instance = actor.birth.instance

    def ended(self, name: str, inc: int) -> None:
        """It was of this run of the daemon, and will not be back."""
        self._release(name, self._instance, inc)

    def _release(self, name: str, instance: str, inc: int, *, resumable: bool = False) -> None:
        if kind_of(name) in _LEASED:
            release = m.LeasesRelease(name, instance, inc, resumable=resumable)
            self._actor.ask(release, lambda _: None, limit=LIMIT)

    def look(self, known: Callable[[], Collection[str]]) -> None:
        """Those of actors that ended while there was no supervisor to see it; `known` gives who lives.

        Whoever wanted a transfer that went down with the daemon comes back with it, or a little later.
        """
        listed = partial(self._listed, known)
        gather(partial(self._actor.ask, limit=LIMIT), m.LeasesList(), "leases", listed)

    def _listed(self, known: Callable[[], Collection[str]], result: Any) -> None:
        if isinstance(result, Exception):
            self._actor.log.warning("leases of actors that are gone are not released: %s", result)
            return
        living = known()
        for one in result:
            alive = one["instance"] == self._instance and one["holder"] in living
            if one["holder"] and not alive:
                name, instance = one["holder"], one["instance"]
                crashed = instance != self._instance and kind_of(name) == "puller"
                self._release(name, instance, one["incarnation"], resumable=crashed)
