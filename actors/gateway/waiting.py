"""A client that waits for the end of a process: no thread is held for it, and nothing is done until then."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final

from actors import messages as m
from actors.gateway.containers import record
from actors.gateway.translation import PAUSE, Asking
from transport.errors import RemoteError
from transport.grpc.server import Answer, Call

AWAY: Final = ("unavailable", "deadline_exceeded")


class Waiting:
    """One call. A daemon or actor that goes away meanwhile is waited out; a client that goes is forgotten."""

    def __init__(
        self,
        service: Asking,
        call: Call,
        answer: Answer,
        response: Callable[[Mapping[str, Any]], Any],
        refusal: Callable[[RemoteError], RemoteError],
    ) -> None:
        """`response` makes the answer of how it has ended; `refusal` makes the client's error of one of ours.

        `refusal` may ask, and is called in a thread of its own.
        """
        self._service, self._actor = service, service.actor
        self._call, self._answer = call, answer
        self._response, self._refusal = response, refusal
        self._container, self._exec = "", ""
        self._question: Future[Any] | None = None  # the one that is under way

    def begin(self, container: str, exec_id: str) -> None:
        """Wait for this. Raises RemoteError: there is no such container."""
        self._container, self._exec = container, exec_id
        self._call.when_over(self._give_up)  # once: it may be asked for days, and every PAUSE of them
        self._ask()

    def _ask(self) -> None:
        """In a thread that may wait."""
        found = record(self._service, self._call, self._container)
        body = m.TasksExecWait(self._exec) if self._exec else m.TasksWait()
        asked = self._actor.following(body, _unheard, to=found["actor"])
        self._question = asked
        if not self._call.active:  # since before we had it
            self._give_up()
        asked.add_done_callback(self._heard)

    def _give_up(self) -> None:
        """Nobody waits any more."""
        if self._question is not None:
            self._question.cancel()

    def _heard(self, asked: "Future[Any]") -> None:
        if asked.cancelled():
            return
        result = asked.result()
        if isinstance(result, RemoteError) and not self._is_away(result):
            self._actor.work(lambda: self._refusal(result), self._refuse)
        elif isinstance(result, RemoteError) or not result.get("exited_at"):
            self._actor.later(PAUSE, self._again)
        else:
            self._answer.give(self._response(result))

    @staticmethod
    def _is_away(error: RemoteError) -> bool:
        return error.code in AWAY or str(error).startswith("no actor is named ")

    def _again(self) -> None:
        if self._call.active:
            self._actor.work(self._ask, self._asked)

    def _asked(self, failure: Any) -> None:
        if failure is not None:
            self._refuse(failure)

    def _refuse(self, error: Any) -> None:
        if not isinstance(error, RemoteError):
            raise error
        self._answer.refuse(error)


def _unheard(_: Any) -> None:
    """There are no partial answers."""
