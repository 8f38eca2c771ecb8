"""The process around an actor: its main thread, which is the actor's and turns its pump, and its end.

What arrives is checked here, before it takes a place in the mailbox: an unknown operation or a body of
the wrong shape is answered at once. Signals and the control channel to the zygote belong here too.
"""

import contextlib
import logging
import os
import queue
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from actors import failpoints
from actors.call import Call, as_remote
from actors.lifeline import Lifeline
from actors.linux.memory import offer_for_merging
from actors.messages import ANY, OPERATIONS
from actors.meter import Meter
from actors.relief import Relief, StoppedError
from actors.spans import timed
from actors.zygote.birth import Birth
from transport.envelope import Envelope, answer, failure
from transport.errors import ProtocolError, RemoteError
from transport.pump import Pump

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.mailbox import Mailbox


GROWN_AFTER = 5.0  # seconds; what an actor has grown to by then, it keeps


FIGURES = "metrics.figures"


class Host:
    """One for each actor process.

    Attributes:
        meter: what the actor measures of itself.
        loop: the actor's, for its thread.
        divert: takes, in the pump's thread, what only passes through here; says whether it has.
        settles: whether an answer needs not to go through the mailbox.
    """

    def __init__(self, birth: Birth, kind: str) -> None:
        """Connect to the router; `run` starts the actor."""
        self.birth = birth
        self._kind = kind
        self._log = logging.getLogger(birth.name)
        self.pump = Pump(birth.settings.router_socket, birth.address, self._arrived)
        self.lifeline = Lifeline(birth, self.pump)
        self.say = self.lifeline.say
        self.meter = Meter()
        self.loop: Callable[[], None] = _no_actor
        self.divert: Callable[[Envelope], bool] = _nothing_of
        self.settles: Callable[[Envelope], bool] = _nothing_of
        self._opened = False
        self._welcomed = False

    def run(self, actor: "type[Actor]") -> None:
        """The process's main thread, until the end."""
        self._actor = actor.start(self)
        relief = Relief(self.pump, self._ended)
        mailbox = cast("Mailbox", self._actor.actor_inbox)
        mailbox.wait, mailbox.wake = relief.wait, self.pump.wake
        mailbox.held = lambda: self.pump.crowded
        self.pump.on_welcome = self._welcome
        self.pump.on_disconnect = lambda: self._soon(lambda running: running.lost_router())
        self._listen_for_signals()
        self._listen_to_zygote()
        if self.birth.settings.memory_merge:
            self.pump.call_later(GROWN_AFTER, offer_for_merging)
        self.pump.turn(lambda: False)  # the router answers while the actor opens
        relief.begin()
        with contextlib.suppress(StoppedError):
            self.loop()
        self.pump.close()

    # From any thread

    def opened(self) -> None:
        """The actor is ready for its first message; said to the zygote once the router knows us too."""
        self.pump.call(self._open)

    def finish(self, code: int) -> None:
        """End the process once what is queued has been sent."""
        self.pump.call(self.pump.stop if code == 0 else lambda: os._exit(code))

    def leave(self, lost: int, otherwise: Callable[[], None]) -> None:
        """End the process in order, unless another router than the one of then may have come to know it.

        `lost`: what the pump's count of lost connections was, then. From any thread.
        """

        def end() -> None:
            if self.pump.lost == lost:
                self.pump.stop()
            else:
                self._soon(lambda _: otherwise())

        self.pump.call(end)

    def crash(self, error: BaseException | None) -> None:
        """End the process now, with a trace in the log and the reason in the supervisor's report."""
        try:
            self.say(op="last_words", reason=f"{type(error).__name__}: {error}"[:1000])
            self._log.error("crashed: %s", type(error).__name__, exc_info=error)
            sys.stderr.flush()
        finally:
            os._exit(1)

    def _ended(self, error: BaseException | None) -> None:
        """The pump has ended while the actor's thread is with a message, for which nobody waits any more."""
        if error is not None:
            self.crash(error)
        self.pump.close()
        sys.stderr.flush()
        os._exit(0)

    # The main thread

    def _listen_for_signals(self) -> None:
        wakeup, other = socket.socketpair()
        other.setblocking(False)
        signal.set_wakeup_fd(other.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: self._soon(lambda running: running.stopping()))
        signal.signal(signal.SIGCHLD, lambda *_: self._soon(lambda running: running.child_exited()))
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.siginterrupt(number, False)  # the pump's wait ends all the same
        self._wakeup = (wakeup, other)

        def drain() -> None:
            wakeup.recv(4096)

        self.pump.watch(wakeup.fileno(), drain)

    def _listen_to_zygote(self) -> None:
        """Heartbeats are answered by the actor's thread, before any request that waits for it."""
        line = self.lifeline
        line.on_ping = lambda: self._soon(lambda _: self._pong())
        line.on_message = lambda message: self._soon(lambda running: running.told(message))
        line.on_new_zygote = lambda: self._soon(lambda running: running.found_zygote())
        line.listen()

    def _pong(self) -> None:
        self.say(op="pong")

    def _soon(self, function: "Callable[[Actor], None]") -> None:
        self._actor.tell(function)

    def _open(self) -> None:
        self._opened = True
        self._say_ready()

    def _welcome(self) -> None:
        self._welcomed = True
        self._say_ready()

    def _say_ready(self) -> None:
        if self._opened and self._welcomed:
            self._opened = False  # said once
            self.say(op="ready")

    def _arrived(self, message: Envelope) -> None:
        if self.divert(message):
            return
        if message.type != "REQ":
            if not self.settles(message):
                self._actor.tell(message)
            return
        if message.op == FIGURES:  # also of an actor that is stuck, so not by its thread
            self.pump.send(answer(message, self.figures()))
            return
        try:
            body, send = self._body(message), self._sender(message.op)
            if self.birth.settings.tracing_otlp_endpoint:
                send = timed(send, message, body, self.birth.name)
            self._actor.tell(Call(message, body, send, self.pump.lost))
        except queue.Full:
            self._refuse(message, RemoteError("overloaded", f"{self.birth.name} has too much to do"))
        except (RemoteError, ProtocolError) as error:
            self._refuse(message, error)

    def figures(self) -> dict[str, Any]:
        """What the mailbox and the meter say. In any thread."""
        mailbox = cast("Mailbox", self._actor.actor_inbox)
        mail = {"waiting": len(mailbox), "refused": mailbox.refused, "waits": mailbox.waits.to_dict()}
        return {**mail, **self.meter.to_dict()}

    def _sender(self, op: str) -> Callable[[Envelope], None]:
        """How answers are sent; where failpoints are on, one may drop the final answer, or double it."""
        if failpoints.active is None:
            return self.pump.send

        def send(message: Envelope) -> None:
            final = message.type in ("FIN", "ERR")
            for _ in range(failpoints.hit(self._kind, op, "reply") if final else 1):
                self.pump.send(message)

        return send

    def _refuse(self, message: Envelope, error: Exception) -> None:
        self.pump.send(failure(message, as_remote(error, self.birth.name)))

    def _body(self, message: Envelope) -> Any:
        known = OPERATIONS.get(message.op)
        if known is None or known.owner not in (self._kind, ANY):
            raise RemoteError("not_implemented", f"{self.birth.name} has no operation {message.op!r}")
        try:
            return msgspec.convert(message.value(), known.body)
        except msgspec.ValidationError as error:
            raise RemoteError("invalid_argument", f"{message.op}: {error}") from error


def _nothing_of(_message: Envelope) -> bool:
    """Nothing passes through here."""
    return False


def _no_actor() -> None:
    """Until it is there."""
