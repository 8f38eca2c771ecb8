"""What is going on in the daemon as a whole, in one answer: for `actr top`, `actr tree` and the page.

Put together in a worker thread from what others know and what the kernel's files say; no container's actor
is asked for anything.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final, Protocol

from actors import messages as m
from actors.linux import cgroups, process
from actors.linux.cgroup_figures import figures
from actors.linux.cgroup_statistics import statistics
from actors.paging import everything
from actors.runtime.bundle import actual_cgroups_path, cgroups_path
from actors.settings import Settings
from actors.usage import usage
from transport.errors import RemoteError

RUNNING: Final = ("running", "paused")
_TASK: Final = ("status", "pid", "started_at", "exited_at", "exit_code", "health", "restarts", "oom", "error")


class Asking(Protocol):
    """An actor, as this needs it."""

    settings: Settings

    def call(self, body: Any, *, to: str = "", limit: float = 30.0) -> Any:
        """Ask and wait."""


class Overview:
    """Made anew for each question."""

    def __init__(self, actor: Asking) -> None:
        self._actor = actor
        self._layout = cgroups.mounted()

    def taken(self, namespace: str) -> dict[str, Any]:
        """All of it, of one namespace or of all. Raises RemoteError when somebody does not answer."""
        call = self._actor.call
        told = call(m.Actors(memory=False))
        traffic = call(m.RouterTraffic())
        containers = everything(call, m.ContainersList(namespace, brief=True), "containers")
        return {
            "at": time.time_ns(),
            "node": self._actor.settings.node,
            "actors": list(_with_usage(told["actors"])),
            "exits": told["exits"],
            "containers": [self._described(one) for one in containers],
            "ingests": call(m.ContentStatuses(""))["ingests"],
            "requests": sum(number for _, _, number in traffic["ended"]),
            "waiting": sum(traffic["waiting"].values()),
        }

    def used(self, wish: m.MetricsUsage) -> list[dict[str, Any]]:
        """What containers use. Raises RemoteError: one that was named does not run, or nobody answers."""
        found = []
        body = m.ContainersList(wish.namespace, brief=True)
        for one in everything(self._actor.call, body, "containers"):
            if wish.ids and one["id"] not in wish.ids:
                continue
            if (one["task"] or {}).get("status") in RUNNING:
                group = place(self._actor.settings, one)
                more = {"figures": figures(self._layout, group)} if wish.figures else {}
                used = usage(self._layout, group, one["task"]["pid"])
                found.append({"id": one["id"], "name": one["name"], **used, **more})
            elif wish.ids:
                text = f"container {one['name']} is not running; see actr ps -a"
                raise RemoteError("failed_precondition", text)
        return found

    def _described(self, container: Mapping[str, Any]) -> dict[str, Any]:
        task = container["task"] or {}
        found = {key: container[key] for key in ("namespace", "id", "name", "image", "wanted", "created_at")}
        found["task"] = {key: task[key] for key in _TASK if key in task}
        if task.get("status") in RUNNING:
            used = statistics(self._layout, place(self._actor.settings, container))
            found |= asdict(used) if used else {}
        return found


def place(settings: Settings, container: Mapping[str, Any]) -> str:
    """Of its cgroups; clients of containerd's API choose their own."""
    namespace, identity = container["namespace"], container["id"]
    if container["options"].get("foreign"):
        return actual_cgroups_path(settings.bundle(namespace, identity))
    return cgroups_path(namespace, identity)


def _with_usage(actors: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Memory takes a millisecond for each: not for those of whom there may be a thousand."""
    for one in actors:
        used: dict[str, Any] = {"memory": 0}
        with suppress(OSError):  # it has ended, or is not there yet
            if one["pid"]:
                used |= asdict(process.usage(one["pid"]))
                if one["kind"] != "container":
                    used["memory"] = process.proportional_memory(one["pid"])
        yield one | used
