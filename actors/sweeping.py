"""How the owner of a store deletes what nobody refers to any more, while others come and refer to things.

Two rules make it safe, in any order of events:

1. Whoever will rely on something holds it first (a lease, a record in metadata), and asks its owner for it
   only then.
2. The owner, before it deletes, shuts the candidates: requests about them wait. It asks metadata once more
   which of them are held by nobody, deletes those, and lets the requests go on.

A hold that is durable before the answer keeps the thing. One that comes later belongs to somebody whose
request waits at the owner, finds the thing gone, and makes it anew.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from actors.actor import Actor
from actors.call import Call
from actors.host import Host
from actors.mailbox import LIMIT, MOST_BYTES
from storage.errors import UnavailableError
from transport.errors import RemoteError

FINAL_ANSWER = 10.0  # seconds for metadata; requests about the candidates wait as long


class SweepingActor(Actor):
    """Base of the owners of stores that are swept."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._shut: frozenset[Hashable] = frozenset()
        self._deferred: list[Call] = []
        self._in_use: Counter[Hashable] = Counter()

    def concerns(self, body: Any) -> Iterable[Hashable]:
        """The names in the store that a request is about."""
        raise NotImplementedError

    def on_receive(self, message: Any) -> None:
        """Requests about what may be going wait until that is decided."""
        if (
            isinstance(message, Call)
            and self._shut
            and not self._shut.isdisjoint(self.concerns(message.body))
        ):
            self._defer(message)
        else:
            super().on_receive(message)

    def _defer(self, call: Call) -> None:
        """No more than the mailbox takes, which they have left: else it would be bounded for nothing."""
        waiting = sum(one.size for one in self._deferred)
        if self._deferred and (len(self._deferred) >= LIMIT or waiting + call.size > MOST_BYTES):
            call.fail(RemoteError("overloaded", f"{self.birth.name} has too much to do"))
        else:
            self._deferred.append(call)

    def ask_about(
        self, names: Iterable[Hashable], question: Any, call: Call, then: Callable[[Any], Any]
    ) -> None:
        """Ask metadata in the course of `call`, which gets what `then` makes of the answer.

        Nothing of that name is swept meanwhile.
        """
        used = tuple(names)
        self._in_use.update(used)

        def answered(result: Any) -> None:
            self._in_use.subtract(used)
            self._in_use += Counter()  # drops what has come down to zero
            call.settle(result if isinstance(result, Exception) else self._outcome(then, result))

        self.ask(question, answered)

    @staticmethod
    def _outcome(then: Callable[[Any], Any], result: Any) -> Any:
        try:
            return then(result)
        except Exception as error:
            if not hasattr(error, "code"):  # a mistake of ours: let it crash
                raise
            return error

    def sweepable(self, names: Iterable[Hashable]) -> list[Hashable]:
        """Those that no request under way is about."""
        return [name for name in names if name not in self._in_use]

    def sweep(self, names: Iterable[Hashable], question: Any, then: Callable[[Any], None]) -> None:
        """Shut `names`, ask metadata, have `then` delete what the answer says (or hear of an error), open.

        Raises:
            UnavailableError: another sweep is under way.
        """
        if self._shut:
            raise UnavailableError(f"{self.birth.name} is sweeping already: try again")
        self._shut = frozenset(names)

        def answered(result: Any) -> None:
            try:
                then(result)
            finally:
                self._open()

        self.ask(question, answered, limit=FINAL_ANSWER)

    def _open(self) -> None:
        self._shut = frozenset()
        waiting, self._deferred = self._deferred, []
        for call in waiting:
            self.on_receive(call)
