"""A connection that is kept: when it breaks, the next is made, after a pause that grows."""

import random
import time
from collections.abc import Callable
from typing import Final, Protocol

from transport.envelope import Envelope
from transport.errors import ProtocolError

ATTEMPT: Final = 4.0  # seconds that a connection and its handshake may take
PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds before the second attempt, doubled up to the last


class Wire(Protocol):
    """What a line needs of a connection (transport/wire.py)."""

    def send(self, message: Envelope) -> bool:
        """Whether it is on its way."""

    def close(self) -> None:
        """End it without a word."""


class Line:
    """For the thread of the pump whose wires it has.

    Attributes:
        ready: whether there is a connection.
        error: why there is none; empty when nothing has gone wrong since there was one.
    """

    def __init__(
        self,
        open_: "Callable[[Line], Wire]",
        came: Callable[[Envelope], None],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`open_` begins a connection; `changed` is called after the line has come up or broken by itself."""
        self.ready, self.error = False, ""
        self._open, self._came, self._changed, self._clock = open_, came, changed, clock
        self._wire: Wire | None = None
        self._due = 0.0  # of the next attempt, or the end of this one
        self._pause = PAUSE

    def tend(self, now: float) -> float | None:
        """Do what is due; gives the time when something will be, None for never."""
        if self.ready:
            return None
        if now >= self._due:
            if self._wire is not None:
                self._rest("no answer to a handshake", now)
            else:
                self._begin(now)
        return self._due

    def send(self, message: Envelope) -> bool:
        """Whether it is on its way."""
        return self._wire is not None and self.ready and self._wire.send(message)

    def renew(self, why: str) -> None:
        """End this connection, and soon begin another; what was asked over it is lost."""
        self._rest(why, self._clock())

    def close(self) -> None:
        """End it for good."""
        if self._wire is not None:
            self._wire.close()
        self._wire, self.ready = None, False

    # From the wire

    def opened(self, _wire: Wire) -> None:
        """The other end has let us in."""
        self.ready, self.error, self._pause = True, "", PAUSE
        self._changed()

    def came(self, _wire: Wire, message: Envelope) -> None:
        """A message has come."""
        self._came(message)

    def broke(self, _wire: Wire, why: str) -> None:
        """It has closed itself."""
        self._rest(why, self._clock())
        self._changed()

    def _begin(self, now: float) -> None:
        try:
            self._wire = self._open(self)
        except ProtocolError as error:
            self._rest(str(error), now)
        else:
            self._due = now + ATTEMPT

    def _rest(self, why: str, now: float) -> None:
        self.close()
        self.error = why
        self._due = now + self._pause * random.uniform(0.5, 1)  # noqa: S311  # jitter, not a secret
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
