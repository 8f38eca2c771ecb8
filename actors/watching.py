"""Who watches whom: death watch, kept by the supervisor, which hears first of every end.

A watch names one incarnation. It is answered once, with the reason: when that incarnation ends, or at once
if it has ended already. To sleep is not to end: such a watch goes on with the incarnation that wakes.
Nothing of it is durable: who is cut off from the supervisor asks again, for the same incarnation, and is
told `gone` if the end came meanwhile.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from actors import messages as m
from actors.call import Call
from actors.supervision import ExitReason
from transport.errors import RemoteError
from transport.switch import HOME

if TYPE_CHECKING:
    from actors.actor import Actor

MOST = 10_000  # watches at once
FEW = 100
LIMIT = 86400.0  # seconds of one on another node; who still wants to know then asks again
GONE = ExitReason("abnormal", "ended before it was watched, nobody knows why")


class Watches:
    """Calls that wait for the end of an incarnation."""

    def __init__(self, running: Callable[[str], tuple[int, int]]) -> None:
        """`running` gives the incarnation that runs or sleeps under a name, 0 for none.

        And the first of those that it goes on with: between them, it has only slept.
        """
        self._running = running
        self._calls: dict[str, dict[int, list[Call]]] = {}
        self._kept = 0
        self._look_at = FEW  # so many: some may have left without a word

    def add(self, body: m.ActorsWatch, call: Call) -> None:
        """Answer it, or keep it until there is an answer. Raises RemoteError."""
        runs, first = self._running(body.name)
        if not body.incarnation:
            call.reply({"name": body.name, "incarnation": runs, "reason": {}})
        elif not first <= body.incarnation <= runs:
            call.reply(_notice(body.name, body.incarnation, GONE))
        else:
            self._keep(body.name, runs, call)

    def _keep(self, name: str, incarnation: int, call: Call) -> None:
        if self._kept >= self._look_at:
            self._drop_those_who_left()
        self._calls.setdefault(name, {}).setdefault(incarnation, []).append(call)
        self._kept += 1

    def _drop_those_who_left(self) -> None:
        """Next when there are twice as many, or the time that it takes would grow with their square."""
        every = [
            (name, inc, one)
            for name, own in self._calls.items()
            for inc, calls in own.items()
            for one in calls
        ]
        left = [found for found in every if found[2].open]
        self._calls, self._kept = {}, len(left)
        for name, inc, one in left:
            self._calls.setdefault(name, {}).setdefault(inc, []).append(one)
        self._look_at = min(MOST, max(FEW, 2 * self._kept))
        if self._kept >= MOST:
            raise RemoteError("overloaded", f"{MOST} watches wait already: end some of them")

    def goes_on(self, name: str, first: int, incarnation: int) -> None:
        """This incarnation is one of the earlier that was asleep: its watches are this one's."""
        own = self._calls.get(name, {})
        for earlier in [one for one in own if first <= one < incarnation]:
            own.setdefault(incarnation, []).extend(own.pop(earlier))

    def ended(self, name: str, incarnation: int, reason: ExitReason) -> None:
        """Tell everybody who watches it."""
        own = self._calls.get(name, {})
        calls = own.pop(incarnation, [])
        self._kept -= len(calls)
        if not own:
            self._calls.pop(name, None)
        for call in calls:
            call.reply(_notice(name, incarnation, reason))


class FarWatches:
    """Of actors of other nodes: asked of their supervisors, as long as somebody wants to know."""

    def __init__(self, actor: "Actor") -> None:
        self._actor = actor
        self._under_way: dict[tuple[str, bytes], Future[Any]] = {}

    def add(self, body: m.ActorsWatch, call: Call) -> bool:
        """Whether it names an actor of another node; then it will be answered."""
        node, slash, name = body.name.partition("/")
        if not slash or node in HOME:
            return False
        there = m.ActorsWatch(name, body.incarnation)
        limit = call.envelope.deadline / 1000 or LIMIT
        watch = self._actor.following(there, lambda _: None, to=f"{node}/supervisor", limit=limit)
        self._under_way[call.envelope.fr, call.envelope.id] = watch
        watch.add_done_callback(lambda done: self._actor.soon(lambda: self._over(done, call, body.name)))
        return True

    def end(self, call: Call) -> None:
        """Nobody wants to know any more."""
        watch = self._under_way.pop((call.envelope.fr, call.envelope.id), None)
        if watch is not None:
            watch.cancel()

    def _over(self, watch: "Future[Any]", call: Call, name: str) -> None:
        self._under_way.pop((call.envelope.fr, call.envelope.id), None)
        result = None if watch.cancelled() else watch.result()
        call.settle({**result, "name": name} if isinstance(result, dict) else result)


def _notice(name: str, incarnation: int, reason: ExitReason) -> dict[str, Any]:
    return {"name": name, "incarnation": incarnation, "reason": reason.to_dict()}
