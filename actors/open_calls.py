"""The calls that an actor has taken up and still owes an answer."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from actors.call import Call
from transport.envelope import Envelope

FEW_CALLS: Final = 8
EARLY_CANCELS: Final = 256  # remembered, each of a request that still waits in the mailbox


class OpenCalls:
    """By who asks and the id of the request. For the actor's thread."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, bytes], Call] = {}
        self._looked_at = FEW_CALLS  # so many: those that have been answered are dropped then
        self._cancelled: deque[tuple[str, bytes]] = deque(maxlen=EARLY_CANCELS)

    def __iter__(self) -> Iterator[Call]:
        """Those that are owed an answer when their turn comes; others may be added meanwhile."""
        return (call for call in list(self._calls.values()) if call.open)

    def add(self, call: Call) -> None:
        """It was not answered at once."""
        call.unload()
        if len(self._calls) >= self._looked_at:
            self._calls = {key: kept for key, kept in self._calls.items() if kept.open}
            self._looked_at = 2 * len(self._calls) + FEW_CALLS
        self._calls[call.envelope.fr, call.envelope.id] = call

    def concerned(self, message: Envelope) -> Call | None:
        """The call that a CANCEL or CREDIT is about, if it is still owed an answer."""
        call = self._calls.get((message.fr, message.re))
        if call is None and message.type == "CANCEL":  # it has overtaken its request
            self._cancelled.append((message.fr, message.re))
        return call if call is not None and call.open else None

    def was_cancelled(self, call: Call) -> bool:
        """Whether it was, before it was taken up."""
        return (call.envelope.fr, call.envelope.id) in self._cancelled
