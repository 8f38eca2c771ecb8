"""A request in an actor's hands: one final answer, any number of partial ones before it."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from actors.tracing import of_request
from storage.errors import BusyError, FullError, StorageError
from transport.codec import pack
from transport.envelope import EMPTY, Envelope, answer, failure, part
from transport.errors import FULL, ProtocolError, RemoteError
from transport.registry.errors import RegistryError


class Later:
    """What an operation returns when it will answer its call itself, in its own time."""


LATER: Final = Later()

BUSY: Final = "busy"  # among an error's details: somebody else is writing it, and will be done
BEGUN: Final = "begun"  # the same: it has been begun before, by another request


class Call:
    """A request that wants exactly one final answer.

    Attributes:
        open: whether the final answer is still owed.
        credit: bytes (or events) that the client is ready to take.
        cause: what is done for it is done for that.
        lost: how many connections to a router had been lost when it came.
        size: bytes of what came with it.
    """

    def __init__(
        self, envelope: Envelope, body: Any, send: Callable[[Envelope], None], lost: int = 0
    ) -> None:
        """`send` may be called from any thread."""
        self.envelope = envelope
        self.body = body
        self._send = send
        self.open = True
        self.credit = envelope.credit
        self.cause = of_request(envelope, body)
        self.lost = lost
        self.size = len(envelope.body) + sum(map(len, envelope.buffers))
        self._said = 0  # partial answers

    def unload(self) -> None:
        """Let go of what came with it: the operation has seen it, and may wait for as long as it likes."""
        self.envelope = replace(self.envelope, body=EMPTY, buffers=())

    def reply(self, body: Any = None) -> None:
        """The result; only the first final answer counts."""
        if self.open:
            self.open = False
            self._end(answer(self.envelope, msgspec.to_builtins({} if body is None else body)))

    def fail(self, error: Exception) -> None:
        """The error, as the wire has it."""
        if self.open:
            self.open = False
            self._end(failure(self.envelope, as_remote(error, self.envelope.to)))

    def _end(self, final: Envelope) -> None:
        self._send(replace(final, number=self._said + 1) if self._said else final)

    def settle(self, result: Any) -> None:
        """Whatever a continuation was given: an exception is the error, anything else the result."""
        if isinstance(result, Exception):
            self.fail(result)
        else:
            self.reply(result)

    def part(self, body: Any, *buffers: bytes, seq: int = 0) -> None:
        """A partial answer, taken off the credit by the size of its buffers."""
        self.credit -= sum(map(len, buffers))
        self._said += 1
        self._send(part(self.envelope, body, *buffers, seq=seq, number=self._said))

    def event(self, body: Any, seq: int) -> None:
        """An event, taken off the credit as one."""
        self.packed_event(pack(body), seq)

    def packed_event(self, body: bytes, seq: int, count: int = 1) -> None:
        """One that is encoded already, or `count` of them in one; `seq` is the number of the last."""
        self.credit -= count
        self._said += 1
        asked = self.envelope
        self._send(Envelope("EVT", re=asked.id, to=asked.fr, seq=seq, number=self._said, body=body))


def as_remote(error: Exception, actor: str) -> RemoteError:
    """Any exception as the error that travels."""
    if isinstance(error, RemoteError):
        return error
    if isinstance(error, ProtocolError):
        return RemoteError("invalid_argument", str(error), actor=actor)
    if isinstance(error, FullError):
        return RemoteError(error.code, str(error), actor=actor, details={FULL: True})
    if isinstance(error, BusyError):
        return RemoteError(error.code, str(error), actor=actor, details={BUSY: True})
    if isinstance(error, StorageError | RegistryError):
        return RemoteError(error.code, str(error), actor=actor)
    return RemoteError("internal", f"{type(error).__name__}: {error}", outcome="unknown", actor=actor)
