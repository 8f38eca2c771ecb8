"""The resolver is told that names are different now: one request at a time, until it has taken it."""

import logging
from collections.abc import Callable
from typing import Any, Final

from actors.networking.in_order import Done

TELL_AGAIN: Final = 1.0  # seconds until the resolver is told again, which did not take it
log = logging.getLogger("network")


class Telling:
    """For one thread."""

    def __init__(
        self, ask: Callable[[Done], None], later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        """`ask` has the resolver look; `later` calls a function after so many seconds."""
        self._ask = ask
        self._later = later
        self._under_way = self._changed = False

    def changed(self) -> None:
        """Names are different now; what changes meanwhile is said in the next request."""
        self._changed = True
        if not self._under_way:
            self._under_way, self._changed = True, False
            self._ask(self._told)

    def _told(self, result: Any) -> None:
        self._under_way = False
        if isinstance(result, Exception):
            log.warning("%s", result)
            self._later(TELL_AGAIN, self.changed)
        elif self._changed:
            self.changed()
