"""Watches for processes of a container that the kernel kills for want of memory.

Version 1 of control groups tells through an eventfd, which also wakes an actor that sleeps; version 2 only
through a counter, which is looked at now and then while it is awake. Either way the counter is read once
more at the exit, before the cgroup goes: no kill is missed, and its event comes before that of the exit.
"""

import contextlib
import os
import time
from typing import TYPE_CHECKING

from actors.linux import cgroups
from actors.linux.cgroup_statistics import oom_kills, oom_notifier
from actors.runtime import bundle as files

if TYPE_CHECKING:
    from actors.container import ContainerActor

LOOK_EVERY = 2.0  # seconds, in version 2
SHELF = "oom"  # the key under which the zygote keeps the eventfd


class OomWatch:
    """Used in the actor's thread."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._descriptor = -1
        self._told_run = 0  # whose kill has been announced

    def begin(self) -> None:
        """A run has begun: watch its cgroup."""
        layout = cgroups.mounted()
        if layout.kind is cgroups.Kind.V2:
            self._look(self._actor.state.run)
            return
        self.happened()  # while we slept, say
        with contextlib.suppress(OSError):  # without the memory controller, no limit and no kill
            self._descriptor = oom_notifier(layout, files.actual_cgroups_path(self._actor.bundle))
            descriptor = self._descriptor
            self.keep()
            self._actor.host.pump.call(
                lambda: self._actor.host.pump.watch(descriptor, lambda: self._notified(descriptor))
            )

    def keep(self) -> None:
        """The zygote gets it too, in case we sleep."""
        if self._descriptor >= 0:
            self._actor.host.say([self._descriptor], op="keep", key=SHELF)

    def wakers(self) -> list[str]:
        """The key of what is to wake us."""
        return [SHELF] if self._descriptor >= 0 else []

    def _notified(self, descriptor: int) -> None:
        """In the pump's thread."""
        with contextlib.suppress(OSError):
            os.read(descriptor, 8)
        self._actor.soon(self._look_once)

    def _look_once(self) -> None:
        self.happened()

    def _look(self, run: int) -> None:
        if run == self._actor.state.run and self._actor.state.phase == "running":
            self.happened()
            self._actor.later(LOOK_EVERY, lambda: self._look(run))

    def happened(self) -> bool:
        """Whether a process of this run was killed so; the first time, that is announced."""
        found = self._kills() > 0
        if found and self._told_run != self._actor.state.run:
            self._told_run = self._actor.state.run
            self._actor.reports.announce_oom(time.time_ns())
        return found

    def _kills(self) -> int:
        return oom_kills(cgroups.mounted(), files.actual_cgroups_path(self._actor.bundle)) or 0

    def end(self) -> None:
        """The run is over."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._actor.host.say(op="drop", key=SHELF)

            def close() -> None:
                self._actor.host.pump.unwatch(descriptor)
                os.close(descriptor)

            self._actor.host.pump.call(close)
