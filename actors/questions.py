"""What an actor has asked others and waits for: matched with answers, and asked again where nobody answered.

A question is sent again while that can do no harm, until its time is over: a dead actor is back within a
second, and its clients should not notice.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from actors.messages import Operation
from actors.tracing import Cause, current
from transport.envelope import Envelope
from transport.errors import ProtocolError, RemoteError
from transport.pump import Pump

RETRY_AFTER: Final = 0.02  # seconds
Answered = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Question:
    """A request on its way, kept so that it can be sent again.

    Attributes:
        then: gets the result or a RemoteError.
        until: when it is not sent again any more, by the monotonic clock.
        wanted: whether anybody still wants to know.
        heard: gets each partial answer.
        cause: what it is asked for.
        direct: `then` may be called in the thread that hears of the result.
        repeatable: asked twice, it is done once.
    """

    envelope: Envelope
    operation: Operation
    then: Answered
    until: float
    wanted: Callable[[], bool]
    heard: Answered
    cause: Cause
    direct: bool
    repeatable: bool


class Questions:
    """Those of one actor. For the actor's thread, but for `send` and `settles`.

    Attributes:
        open: those that wait for an answer, by the id of the request.
    """

    def __init__(self, pump: Pump, later: Callable[[float, Callable[[], None]], None]) -> None:
        """By way of `pump`; `later` runs something in the actor's thread after so many seconds."""
        self.open: dict[bytes, Question] = {}
        self._pump = pump
        self._later = later
        self._resting = 0  # those about to be sent again

    @property
    def waiting(self) -> bool:
        """Whether any answer is waited for."""
        return bool(self.open or self._resting)

    def send(self, question: Question, first: bytes | None = None) -> None:
        """Ask; `first` is sent in place of the body, this time. Not once nobody wants to know."""
        if not question.wanted():
            return
        self.open[question.envelope.id] = question
        envelope = question.envelope
        self._pump.send(envelope if first is None else msgspec.structs.replace(envelope, body=first))

    def heard(self, message: Envelope) -> None:
        """An answer, whole or in part; what nobody has asked for is dropped."""
        question = self.open.get(message.re)
        if question is None or message.type not in ("FIN", "ERR", "PART"):
            return
        if message.type == "PART":
            question.heard(message.value())
            return
        result: Any
        try:
            result = message.value() if message.type == "FIN" else RemoteError.from_body(message.value())
        except ProtocolError as error:
            result = RemoteError("internal", f"answer to {question.operation.name}: {error}", outcome="done")
        self._settle(question, result)

    def settles(self, message: Envelope) -> bool:
        """Whether this was the result of a question whose asker waits in another thread. In the pump's."""
        question = self.open.get(message.re)
        if question is None or not question.direct or message.type != "FIN":
            return False
        try:
            result = message.value()
        except ProtocolError:
            return False
        if self.open.pop(message.re, None) is not None:
            question.then(result)
        return True

    def take_back(self, then: Answered) -> None:
        """Whoever was to hear of it no longer wants to; whoever is about to answer is told so."""
        for asked, question in list(self.open.items()):
            if question.then is then:
                del self.open[asked]
                self._pump.send(Envelope("CANCEL", re=asked))

    def lost_router(self) -> None:
        """What was asked through a router that died will not be answered."""
        gone = RemoteError("unavailable", "the router went away", outcome="unknown")
        for question in list(self.open.values()):
            self._settle(question, gone)

    def _settle(self, question: Question, result: Any) -> None:
        """Hand the result on, or send the question once more."""
        self.open.pop(question.envelope.id, None)
        current.set(question.cause)
        left = question.until - time.monotonic()
        if not isinstance(result, RemoteError) or not _worth_repeating(question, result):
            question.then(result)
        elif left <= RETRY_AFTER:
            text = f"{question.operation.name}: {result} (tried until the deadline)"
            question.then(RemoteError("deadline_exceeded", text, outcome=result.outcome))
        else:
            fresh = msgspec.structs.replace(question.envelope, id=os.urandom(16), deadline=int(left * 1000))
            again = replace(question, envelope=fresh)
            self._resting += 1
            self._later(RETRY_AFTER, lambda: self._send_again(again))

    def _send_again(self, question: Question) -> None:
        self._resting -= 1
        self.send(question)


def _worth_repeating(question: Question, error: RemoteError) -> bool:
    return error.retryable and (error.outcome == "not_started" or question.repeatable)
