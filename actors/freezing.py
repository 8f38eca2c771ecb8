"""A container that stands still for a while: its cgroup is frozen until a time that has to be renewed.

Whoever wanted it may die, and so may the container's actor: the time runs out, or the next incarnation
thaws first of all. A container is never left frozen.
"""

import contextlib
import time
from typing import TYPE_CHECKING, Any

from actors import failpoints
from actors.call import LATER, Call, Later
from actors.linux import cgroups
from actors.runtime.bundle import actual_cgroups_path
from storage.errors import UnavailableError
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

LONGEST = 300.0  # seconds
WAIT = 5.0  # seconds that the kernel may take to stop all processes


class Freezing:
    """For one container's actor."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._until = 0.0

    def is_idle(self) -> bool:
        """Whether it has not to be thawed in time."""
        return not self._until

    def freeze(self, seconds: float, call: Call) -> Later:
        """Freeze, or stay frozen for longer; answered when every process stands still."""
        seconds = min(max(0.0, seconds), LONGEST)
        self._until = time.monotonic() + seconds
        self._actor.later(seconds + 0.01, self._expire)
        self._actor.work(lambda: self._set(frozen=True), lambda result: self._frozen(call, result))
        return LATER

    def _frozen(self, call: Call, result: Any) -> None:
        if isinstance(result, Exception):
            self.thaw()
            if isinstance(result, OSError):
                result = RemoteError("unavailable", f"the container cannot be frozen: {result}")
        call.settle(result)

    def thaw(self) -> None:
        """Let it go on, unless a person has paused it; one that is not frozen does."""
        self._until = 0.0
        with contextlib.suppress(FileNotFoundError):  # without a freezer, nothing was frozen
            self._set(frozen=self._actor.state.paused)

    def follow(self, call: Call) -> None:
        """Bring about what a person wants, which has been journalled: paused or not."""
        if not self._until or self._actor.state.paused:
            frozen = self._actor.state.paused
            self._actor.work(lambda: self._set(frozen=frozen), lambda result: self._followed(call, result))
        else:
            call.reply({})  # who wants it to stand still for a while lets it go on

    def _followed(self, call: Call, result: Any) -> None:
        if isinstance(result, FileNotFoundError):
            result = RemoteError("failed_precondition", "pause needs the freezer controller: mount it")
        call.settle(result)

    def _expire(self) -> None:
        if self._until and time.monotonic() >= self._until:
            self._actor.log.warning("thawed: nobody has renewed the freezing")
            self.thaw()

    def _set(self, *, frozen: bool) -> None:
        path = actual_cgroups_path(self._actor.bundle)
        failpoints.hit("container", "freeze" if frozen else "thaw", "before")
        if not cgroups.freeze(cgroups.mounted(), path, frozen=frozen, wait=WAIT):
            raise UnavailableError("the container's processes do not stand still")
