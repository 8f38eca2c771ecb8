"""A container that stands still for a while: its cgroup is frozen until a time that has to be renewed.

Whoever wanted it may die, and so may the container's actor: the time runs out, or the next incarnation
thaws first of all. A container is never left frozen.
"""

import contextlib
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from actors import failpoints
from actors.call import LATER, Call, Later
from actors.linux import cgroups
from actors.questions import Answered
from actors.runtime.bundle import actual_cgroups_path
from storage.errors import UnavailableError
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

LONGEST = 300.0  # seconds
WAIT = 5.0  # seconds that the kernel may take to stop all processes
LOOK_AGAIN = 0.002  # seconds


class Freezing:
    """For one container's actor. What is written to the cgroup is what is wanted at that moment.

    So threads may come in any order: whoever writes last writes what was wanted last.
    """

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._holders: dict[str, float] = {}  # who wants it to stand still, and until when
        self._barred = False  # it has been killed: a frozen process would not take that (version 1)
        self._writing = threading.Lock()

    def is_idle(self) -> bool:
        """Whether it has not to be thawed in time."""
        return not self._holders

    def freeze(self, seconds: float, call: Call, holder: str = "", *, again: bool = False) -> Later:
        """Freeze, or stay frozen for longer; answered when every process stands still.

        Raises:
            RemoteError: failed_precondition, of one that somebody ends; or that has gone on since, if it is
                said `again` to be standing still for this holder.
        """
        state, name = self._actor.state, self._actor.record["name"]
        if self._barred or state.halted or state.again or state.remove or state.cause:
            text = f"container {name} is being ended, and does not stand still"
            raise RemoteError("failed_precondition", text)
        if again and holder not in self._holders:
            text = f"container {name} has gone on meanwhile: its files may have changed; try again"
            raise RemoteError("failed_precondition", text)
        seconds = min(max(0.0, seconds), LONGEST)
        self._holders[holder] = time.monotonic() + seconds
        self._actor.later(seconds + 0.01, lambda: self._expire(holder))
        then = partial(self._frozen, call, holder)
        self._actor.work(lambda: self._bring_about(frozen=True), then)
        return LATER

    def _frozen(self, call: Call, holder: str, result: Any) -> None:
        if isinstance(result, Exception):
            self.let_go(holder)
            if isinstance(result, OSError):
                result = RemoteError("unavailable", f"the container cannot be frozen: {result}")
        call.settle(result)

    def let_go(self, holder: str) -> None:
        """Let it go on, unless another wants it to stand still as well."""
        self._holders.pop(holder, None)
        if not self._holders:
            self.thaw()

    def thaw(self) -> None:
        """Let it go on, unless a person has paused it; one that is not frozen does."""
        self._holders.clear()
        with contextlib.suppress(FileNotFoundError):  # without a freezer, nothing was frozen
            self._write()

    def bar(self) -> None:
        """Whoever wants this run to stand still for a while is refused from now on."""
        self._barred = True

    def end(self) -> None:
        """The run is over: nobody wants that of the next one."""
        self._holders.clear()
        self._barred = False

    def follow(self, then: Answered) -> None:
        """Bring about what a person wants, which has been journalled: paused or not."""
        paused = self._actor.state.paused
        if self._holders and not paused:  # who wants it to stand still for a while lets it go on
            then({})
            return

        def followed(result: Any) -> None:
            if isinstance(result, FileNotFoundError):
                result = RemoteError("failed_precondition", "pause needs the freezer controller: mount it")
            then(result)

        self._actor.work(lambda: self._bring_about(frozen=paused), followed)

    def _expire(self, holder: str) -> None:
        if holder in self._holders and time.monotonic() >= self._holders[holder]:
            self._actor.log.warning("it stands still no longer for %r, who has not renewed that", holder)
            self.let_go(holder)

    def _bring_about(self, *, frozen: bool) -> None:
        """In a worker thread: until all do so. Raises UnavailableError; RemoteError: not wanted any more."""
        failpoints.hit("container", "freeze" if frozen else "thaw", "before")
        until = time.monotonic() + WAIT
        while True:
            wanted, done = self._write()
            if wanted != frozen:
                raise RemoteError("failed_precondition", "the opposite has been wanted meanwhile")
            if done:
                return
            if time.monotonic() > until:
                raise UnavailableError("the container's processes do not stand still")
            time.sleep(LOOK_AGAIN)

    def _write(self) -> tuple[bool, bool]:
        """In any thread. Gives whether they are to stand still, and whether all do what they are to do."""
        path = actual_cgroups_path(self._actor.bundle)
        with self._writing:
            wanted = self._actor.state.paused or bool(self._holders)
            return wanted, cgroups.freeze(cgroups.mounted(), path, frozen=wanted, wait=0.0)
