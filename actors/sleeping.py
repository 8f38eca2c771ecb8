"""Sleep: the actor of a container to which nothing happens ends, and is started again when something does.

A process that is not there needs no memory. What would wake it, the end of the container and its output, the
zygote watches; a request, the router tells the supervisor of. Waking is the ordinary start, as after a crash,
so whatever happens between any two of these steps is found by the next incarnation.

It goes to sleep in three steps: the zygote is told what is to wake it (which counts only once it has ended in
order) and has what is kept for it held by a process that outlives them both (actors/zygote/keeper.py), the
router sends it nothing more, unless somebody waits for an answer of it, and it ends.
"""

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actors import failpoints
from actors import messages as m

if TYPE_CHECKING:
    from actors.container import ContainerActor

SHORT: Final = 30  # times the first quiet time: one that sleeps for less waits longer the next time
LEAVE_LIMIT: Final = 5.0  # seconds for the zygote's answer, and for the router's


def quiet_after(first: float, last: float, slept: float) -> float:
    """Seconds that one has to be quiet before it sleeps, after it was quiet for `last` and slept for `slept`.

    To start costs as much as many small things to do: what happens every minute keeps it awake. Pure.
    """
    return first if slept >= SHORT * first else min(2 * last, SHORT * first)


class Sleep:
    """Used in the actor's thread, but for `stir`."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._first = self._quiet = actor.settings.supervision_sleep_after
        self._stirred_at = time.monotonic()
        self._slept_at = 0.0
        self._barred = not self._first
        self._lying = 0  # the number of the attempt that waits for the zygote, 0 for none
        self._attempts = 0
        self._lost = 0  # how often the router had been lost by then
        self._timer = 0  # the number of the last one, which alone counts

    # What the next incarnation knows of it. Seconds of the monotonic clock, as the journal goes with a reboot

    def to_journal(self) -> dict[str, float]:
        """Plain form."""
        return {"quiet": self._quiet, "at": self._slept_at}

    def from_journal(self, plain: dict[str, float]) -> None:
        """Read it back."""
        if plain.get("at"):
            self._quiet = quiet_after(self._first, plain["quiet"], time.monotonic() - plain["at"])

    # When

    def begin(self) -> None:
        """From now on it may."""
        self._wait(self._quiet)

    def bar(self) -> None:
        """Not any more: the daemon stops, and what happens meanwhile is to be seen.

        An attempt that is under way would wait for a router that goes as well, and for a zygote.
        """
        self._barred = True
        self._timer += 1
        if self._slept_at:
            self._lying = 0
            self._stay()

    def unbar(self) -> None:
        """There is a daemon again."""
        self._barred = not self._first
        self._wait(self._quiet)

    def stir(self) -> None:
        """Something has happened. In any thread."""
        self._stirred_at = time.monotonic()

    def _wait(self, seconds: float) -> None:
        self._timer += 1
        if not self._barred:
            self._actor.later(seconds, partial(self._look, self._timer))

    def _look(self, timer: int) -> None:
        left = self._stirred_at + self._quiet - time.monotonic()
        if timer != self._timer:
            return
        if left > 0:
            self._wait(left)
        elif self._actor.is_idle():
            self._lie_down()
        else:
            self._wait(self._quiet)

    # How

    def _lie_down(self) -> None:
        actor, lost = self._actor, self._actor.host.pump.lost
        self._slept_at = time.monotonic()
        actor.save()
        failpoints.hit("container", "sleep", "before")
        if not actor.is_idle() or not actor.host.say(op="sleep", keys=actor.wakers()):  # nobody would wake it
            self._slept_at = 0.0
            self._wait(self._quiet)
            return
        failpoints.hit("container", "sleep", "said")
        self._attempts += 1
        self._lying, self._lost = self._attempts, lost
        actor.later(LEAVE_LIMIT, partial(self._answered, self._attempts, held=False))

    def answered(self, *, held: bool) -> None:
        """The zygote has heard it; `held`: what it keeps for us is safe should it die."""
        self._answered(self._lying, held=held)

    def _answered(self, attempt: int, *, held: bool) -> None:
        if not attempt or attempt != self._lying:
            return
        self._lying, lost = 0, self._lost
        if held:
            self._actor.ask(m.RouterLeave(), lambda result: self._left(lost, result), limit=LEAVE_LIMIT)
        else:
            self._stay()

    def _left(self, lost: int, result: Any) -> None:
        failpoints.hit("container", "sleep", "left")
        left = isinstance(result, dict) and bool(result["left"])
        if left and not self._barred and self._actor.is_idle():
            self._actor.host.leave(lost, self._stay)
        else:
            self._stay()

    def _stay(self) -> None:
        """Something came between. The router may have let it go: it has to know it again."""
        self._slept_at = 0.0
        self.stir()
        self._actor.host.say(op="sleep", keys=None)
        self._actor.host.pump.announce()
        self._wait(self._quiet)
