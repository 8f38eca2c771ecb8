"""What every actor is made of: a Pykka actor that takes one message after the other in its own thread.

Requests arrive as `Call`, answers go to the continuation that the question left behind, and whatever
other threads have to say comes as a closure (`soon`). An exception in the actor's own code ends the
process: the supervisor starts it again from what is durable.
"""

import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, ClassVar

import msgspec
import pykka

from actors import failpoints
from actors import messages as m
from actors.call import LATER, Call
from actors.host import Host
from actors.mailbox import Mailbox
from actors.messages import is_repeatable, operation_of
from actors.open_calls import OpenCalls
from actors.questions import Answered, Question, Questions
from actors.tracing import NOTHING, bound, current, of_birth
from actors.zygote.birth import Birth, Program
from storage.errors import StorageError
from transport.codec import pack
from transport.envelope import Envelope, note, request
from transport.errors import ProtocolError, RemoteError
from transport.registry.errors import RegistryError

ASK_LIMIT = 30.0  # seconds, unless said otherwise
WATCH_LIMIT = 86400.0  # seconds after which a watch is asked for again


def _unheard(_part: Any) -> None:
    """A partial answer that nobody has asked for."""


class LinkError(Exception):
    """An actor that this one was linked to has ended, and not in order."""


class Actor(pykka.ThreadingActor):
    """Base of all actors but the router. Subclasses name their `kind` and define one method an operation.

    The method of operation `images.get` is `images_get(body, call)`: what it returns is the answer, an
    exception is the error, `LATER` means that it keeps the call.
    """

    kind: ClassVar[str]
    use_daemon_thread = True

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self.birth: Birth = host.birth
        self.settings = host.birth.settings
        self.log = logging.getLogger(host.birth.name)
        self._questions = Questions(host.pump, self.later)
        self._at_work = 0  # threads
        self._finished = False
        self._calls = OpenCalls()
        host.settles = self._questions.settles

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox(ordinary=Call)

    def _start_actor_loop(self) -> None:
        """Pykka's would be a thread; the host runs it in the main one."""
        self.host.loop = self._actor_loop

    # For subclasses to define

    def started(self) -> None:
        """Open what is needed before the first message. May raise."""

    def stopping(self) -> None:
        """Asked to stop with SIGTERM: close in order and `finish`."""
        self.finish()

    def child_exited(self) -> None:
        """A child of this process has ended (SIGCHLD)."""

    def cancelled(self, call: Call) -> None:
        """The client no longer wants what `call` asked for."""
        call.fail(RemoteError("unavailable", "cancelled", outcome="unknown"))

    def forsaken(self, call: Call) -> None:
        """The router that `call` came through has died: no answer gets back; whoever wants one asks anew."""
        self.cancelled(call)

    def credited(self, call: Call) -> None:
        """`call.credit` has grown."""

    def told(self, message: dict[str, Any]) -> None:
        """The zygote has something to say, to the supervisor."""

    def noted(self, message: Envelope) -> None:
        """A note has come: it wants no answer."""

    def found_zygote(self) -> None:
        """This process has outlived its zygote and found the next one, which holds nothing of ours yet."""

    # For subclasses to use

    @contextlib.contextmanager
    def busy(self, seconds: float) -> Iterator[None]:
        """Work in the actor's thread that may take `seconds` without an answer to a heartbeat."""
        self.host.say(op="busy", seconds=seconds)
        try:
            yield
        finally:
            self.host.say(op="busy", seconds=0)

    def is_idle(self) -> bool:
        """Whether nothing is under way: no request, no question of ours, no work, no message that waits."""
        return (
            not self._questions.waiting
            and not any(self._calls)
            and not self._at_work
            and self.actor_inbox.empty()
        )

    def failing(self, error: BaseException | None) -> None:
        """This process is about to end of an exception that nobody has expected."""

    def finish(self, code: int = 0) -> None:
        """End the process with `code` once what was said has been sent. Nothing more is taken up."""
        self._finished = True
        self.host.finish(code)

    def soon(self, function: Callable[[], None]) -> None:
        """Run `function` in the actor's thread, with the cause of now. From any thread."""
        with_cause = bound(function)
        self.actor_ref.tell(lambda _: with_cause())

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run `function` in the actor's thread after `seconds`, for no cause but its time."""
        self.host.pump.call_later(seconds, lambda: self.soon(function))

    def ask(
        self,
        body: Any,
        then: Answered,
        *,
        to: str = "",
        limit: float = ASK_LIMIT,
        wanted: Callable[[], bool] = lambda: True,
        heard: Answered = _unheard,
        direct: bool = False,
        first: Any = None,
    ) -> None:
        """Send a request; `then` gets the result or a RemoteError, in the actor's thread.

        Before it, `heard` gets each partial answer, if it has no buffers: for those nobody gives credit.

        It is sent again while nobody answers, as long as that can do no harm, until `limit` seconds have
        passed: a dead actor is back within a second, and its clients should not notice. It is not sent once
        `wanted` says False; then nobody hears of it any more. `direct`: `then` may be called in the thread
        that hears of the result, which saves waking the actor's. `first` is sent in place of `body` the first
        time: what it has besides holds for that moment only.
        """
        operation = operation_of(body)
        cause = current.get()
        how: dict[str, Any] = {"deadline": int(limit * 1000), "trace": cause.carried()}
        envelope = request(to or operation.owner, operation.name, msgspec.to_builtins(body), **how)
        until = time.monotonic() + limit
        repeatable = is_repeatable(body)
        question = Question(envelope, operation, then, until, wanted, heard, cause, direct, repeatable)
        self._questions.send(question, None if first is None else pack(msgspec.to_builtins(first)))

    def call(self, body: Any, *, to: str = "", limit: float = ASK_LIMIT) -> Any:
        """Send a request and wait. For worker threads only: the actor's own thread must not wait.

        Raises:
            RemoteError: the error that came back, or `deadline_exceeded`.
        """
        return self.begin(body, to=to, limit=limit)()

    def begin(self, body: Any, *, to: str = "", limit: float = ASK_LIMIT) -> Callable[[], Any]:
        """As `call`, in two steps: what this returns waits for the answer. Several may be under way."""
        future = self.asking(body, to=to, limit=limit)

        def wait() -> Any:
            result = future.result(limit + 5)
            if isinstance(result, RemoteError):
                raise result
            return result

        return wait

    def asking(self, body: Any, *, to: str = "", limit: float = ASK_LIMIT) -> concurrent.futures.Future[Any]:
        """As `ask`: the future holds the result or the RemoteError. Cancelled, the question is given up."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def settle(result: Any) -> None:
            with contextlib.suppress(concurrent.futures.InvalidStateError):  # cancelled this very moment
                future.set_result(result)

        self.ask(body, settle, to=to, limit=limit, wanted=lambda: not future.cancelled(), direct=True)
        return future

    def following(
        self, body: Any, heard: Answered, *, to: str, limit: float = WATCH_LIMIT
    ) -> concurrent.futures.Future[Any]:
        """As `asking`, with partial answers for `heard`. Cancelled, whoever answers is told so."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def settle(result: Any) -> None:
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_result(result)

        def ended(_: Any) -> None:
            if future.cancelled():
                self.soon(lambda: self._questions.take_back(settle))

        future.add_done_callback(ended)
        self.ask(body, settle, to=to, limit=limit, wanted=lambda: not future.cancelled(), heard=heard)
        return future

    def tell(self, to: str, op: str, body: Any) -> None:
        """Send a note: no answer, no promise."""
        self.host.pump.send(note(to, op, body))

    def watch(self, name: str, incarnation: int, then: Answered) -> None:
        """`then` gets one notice, with the reason, when that incarnation has ended, in the actor's thread."""

        def heard(result: Any) -> None:
            if isinstance(result, RemoteError) and (result.retryable or result.code == "deadline_exceeded"):
                self.watch(name, incarnation, then)
            else:
                then(result)

        self.ask(m.ActorsWatch(name, incarnation), heard, limit=WATCH_LIMIT)

    def link(self, name: str, incarnation: int) -> None:
        """End with that incarnation, unless it ends in order: a watch that kills."""

        def ended(result: Any) -> None:
            kind = result["reason"]["kind"] if isinstance(result, dict) else ""
            if kind not in ("normal", "shutdown"):
                self.host.crash(
                    LinkError(f"{name}/{incarnation}, to which this actor is linked, ended: {result}")
                )

        self.watch(name, incarnation, ended)

    def work(self, function: Callable[[], Any], then: Answered) -> None:
        """Run `function` in a thread of its own; `then` gets what it returned or raised."""

        def done(result: Any) -> None:
            self._at_work -= 1
            then(result)

        def body() -> None:
            try:
                result = function()
            except Exception as error:  # noqa: BLE001  # it is handed to whoever wanted the work
                result = error
            self.soon(lambda: done(result))

        self._at_work += 1
        threading.Thread(target=bound(body), daemon=True, name=f"{self.kind}-work").start()

    # Operations of every actor

    def failpoints_set(self, body: m.FailpointsSet, _: Call) -> None:
        """Have something go wrong in this process."""
        action = self.parsed(body.action)
        try:
            self.points().set(body.name, action)
        except failpoints.FailpointError as error:
            raise RemoteError("invalid_argument", str(error)) from error

    def failpoints_list(self, _body: m.FailpointsList, _: Call) -> dict[str, Any]:
        """What was passed, and what is set."""
        return {"points": self.points().described()}

    def metrics_figures(self, _body: m.MetricsFigures, _: Call) -> dict[str, Any]:
        """What is measured here; the host answers itself, before it takes a place in the mailbox."""
        return self.host.figures()

    def points(self) -> failpoints.Failpoints:
        """Those of this process. Raises RemoteError unless they are on."""
        if failpoints.active is None:
            raise RemoteError("permission_denied", "failpoints are off; start actord with --failpoints")
        return failpoints.active

    @staticmethod
    def parsed(action: str) -> failpoints.Action:
        """An action as it is written. Raises RemoteError."""
        try:
            return failpoints.parse_action(action)
        except failpoints.FailpointError as error:
            raise RemoteError("invalid_argument", str(error)) from error

    # The machinery

    def on_start(self) -> None:
        """Open; then we are ready."""
        current.set(of_birth(self.birth.trace))
        try:
            failpoints.hit(self.kind, "open", "before")
            self.started()
            failpoints.hit(self.kind, "open", "after")
        except Exception as error:  # noqa: BLE001  # whatever it is, this start has failed
            self.failing(error)
            self.host.crash(error)
        self.host.opened()
        current.set(NOTHING)

    def on_receive(self, message: Any) -> None:
        """One message at a time; none once what they are about may be closed, or cleared away."""
        if self._finished:
            if isinstance(message, Call):
                message.fail(RemoteError("unavailable", f"{self.birth.name} is ending"))
            return
        began = time.monotonic()
        self._take_up(message)
        current.set(NOTHING)  # not if it failed: that is told with the cause that it had
        self.host.meter.work.add(time.monotonic() - began)

    def _take_up(self, message: Any) -> None:
        if isinstance(message, Call):
            self._perform(message)
        elif isinstance(message, Envelope):
            self._take_in(message)
        else:
            message(self)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let it crash: what is durable is right, what is in memory may not be."""
        del exception_type, traceback
        self.failing(exception_value)
        self.host.crash(exception_value)

    def _perform(self, call: Call) -> None:
        current.set(call.cause)
        if self.log.isEnabledFor(logging.DEBUG):
            self.log.debug("%s of %s", call.envelope.op, call.envelope.fr)
        if self._calls.was_cancelled(call) or call.lost < self.host.pump.lost:
            call.fail(RemoteError("unavailable", "cancelled"))
            return
        try:
            op = call.envelope.op
            method = getattr(self, op.replace(".", "_"))
            failpoints.hit(self.kind, op, "before")
            result = method(call.body, call)
            failpoints.hit(self.kind, op, "after")
        except (RemoteError, StorageError, RegistryError, ProtocolError) as error:
            call.fail(error)
        except Exception as error:
            call.fail(error)
            raise
        else:
            if result is not LATER:
                call.reply(result)
        if call.open:
            self._calls.add(call)

    def _take_in(self, message: Envelope) -> None:
        if message.type in ("CANCEL", "CREDIT"):
            self._concern(message)
        elif message.type == "NOTE":
            self.noted(message)
        else:
            self._questions.heard(message)

    def _concern(self, message: Envelope) -> None:
        call = self._calls.concerned(message)
        if call is None:
            return
        if message.type == "CANCEL":
            self.cancelled(call)
        else:
            call.credit += message.credit
            self.credited(call)

    def lost_router(self) -> None:
        """What was asked through a router that died will not be answered, neither to us nor by us."""
        self._questions.lost_router()
        for call in self._calls:
            if call.lost < self.host.pump.lost:  # not what the next one has brought already
                self.forsaken(call)


def program(actor: type[Actor]) -> Program:
    """What the zygote runs in the forked process of this actor."""

    def run(birth: Birth) -> None:
        Host(birth, actor.kind).run(actor)

    return run
