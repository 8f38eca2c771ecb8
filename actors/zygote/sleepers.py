"""Children that have gone to sleep: they have ended in order, and are started again when something happens.

What is to wake a child are descriptors that it had given to be kept: the pidfd of its container, the reading
ends of its output. They are watched by level, so what happened while it was ending is seen as well. Whoever
is told of it decides; here nothing is started, and each sleeper is told of once.
"""

import selectors
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from actors.zygote.children import Child


@dataclass(slots=True)
class Sleepers:
    """Those asleep, by name; `stirred` is called with the name of one for which there is something to do."""

    selector: selectors.BaseSelector
    stirred: Callable[[str], None]
    asleep: dict[str, Child] = field(default_factory=dict)
    _watched: dict[str, list[int]] = field(default_factory=dict)

    def add(self, child: Child, descriptors: Iterable[int]) -> None:
        """It has ended; the descriptors stay open until `take`. One that cannot be watched stirs it."""
        self.asleep[child.name] = child
        watched = self._watched[child.name] = []
        stir = partial(self._stir, child.name)
        try:
            for descriptor in descriptors:
                self.selector.register(descriptor, selectors.EVENT_READ, stir)
                watched.append(descriptor)
        except (OSError, ValueError, KeyError):
            stir()

    def _stir(self, name: str) -> None:
        """No more of it: should nobody hear, the next supervisor starts whoever it is not told of."""
        self.take(name)
        self.stirred(name)

    def take(self, name: str) -> None:
        """Forget one, before it is started or its descriptors are closed; one that is not asleep is fine."""
        for descriptor in self._watched.pop(name, ()):
            self.selector.unregister(descriptor)
        self.asleep.pop(name, None)
