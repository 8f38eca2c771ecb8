"""Final answers that wait for room in a peer's queue: each was promised (docs/protocol.md, "Requests").

A thousand requests can end in one moment, when the container that they wait for does. A door says of a full
queue only that it is full, so the first answer of each peer is tried again now and then. What is kept is
bounded; a peer that does not read loses what is beyond that. Credit for a stream, and word that a request is
no longer wanted, wait as well: an actor that was stopped for a moment would never hear of it again.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from transport.doors import FullError, UnreachableError
from transport.envelope import Envelope
from transport.switch import MAX_OUTSTANDING_PER_PEER

AGAIN: Final = 0.02  # seconds
MOST: Final = MAX_OUTSTANDING_PER_PEER  # messages for one peer,
MOST_ASIDE: Final = MOST // 2  # of which those that are no answers leave room for these
MOST_BYTES: Final = 16 << 20  # for one peer
_MOST: Final = {"FIN": MOST, "ERR": MOST, "CREDIT": MOST_ASIDE, "CANCEL": MOST_ASIDE}


class Held:
    """By peer, in order. For the router's thread."""

    def __init__(self) -> None:
        self._peers: dict[str, deque[Envelope]] = {}
        self._bytes: dict[str, int] = {}

    def keep(self, address: str, message: Envelope) -> bool:
        """Whether it is kept: nothing that is said again, and within the bounds."""
        size = self._bytes.get(address, 0) + _size(message)
        waiting = self._peers.get(address, ())
        if len(waiting) >= _MOST.get(message.type, 0) or size > MOST_BYTES:
            return False
        self._peers.setdefault(address, deque()).append(message)
        self._bytes[address] = size
        return True

    def retry(self, send: Callable[[str, Envelope], None], now: float) -> float | None:
        """Send what there is room for now; also returns when to come back, None for never."""
        for address in list(self._peers):
            waiting = self._peers[address]
            while waiting and self._is_over(send, address, waiting[0]):
                self._bytes[address] -= _size(waiting.popleft())
            if not waiting:
                del self._peers[address], self._bytes[address]
        return now + AGAIN if self._peers else None

    @staticmethod
    def _is_over(send: Callable[[str, Envelope], None], address: str, message: Envelope) -> bool:
        """Sent, or for nobody any more."""
        try:
            send(address, message)
        except FullError:
            return False
        except UnreachableError:
            pass
        return True


def _size(message: Envelope) -> int:
    return len(message.body) + sum(map(len, message.buffers))
