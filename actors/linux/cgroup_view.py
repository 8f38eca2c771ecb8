"""A view of the host's control groups that crun takes: every controller as a version 1 hierarchy.

For a hybrid host in which version 1 has not got every controller; runc, and hosts of one version, need none.
"""

import os
from collections.abc import Callable
from typing import TypeVar

from actors.linux import mounts
from actors.linux.cgroups import Layout
from actors.linux.mount_options import MS_NODEV, MS_NOSUID, MS_REC, MS_SLAVE
from actors.linux.threads import CLONE_NEWNS, in_own_thread

_Result = TypeVar("_Result")


def needs_private_view(layout: Layout) -> bool:
    """Whether crun refuses this host: a hybrid layout in which version 1 has not got every controller."""
    return bool(layout.beyond_v1)


def in_private_view(layout: Layout, work: Callable[[], _Result]) -> _Result:
    """Run `work` (which spawns crun) where every controller appears as a version 1 hierarchy.

    It runs in a mount namespace of its own, in which the mount root is made anew: the host's hierarchies as
    they are, and the missing controllers as version 1 hierarchies, as the host could have mounted them. What
    is spawned there inherits the view, and is still a child of this process. Nothing of it is visible
    outside, except that a controller leaves the unified tree while its hierarchy holds a cgroup. Every
    command for a container has to see the same view, `delete` included.

    Raises:
        OSError: EBUSY when the unified tree itself uses one of the controllers.
    """

    def prepared() -> _Result:
        # Slave, not private: what the host mounts from now on is still seen here, nothing goes back.
        mounts.mount("", "/", "", MS_REC | MS_SLAVE)
        _rebuild(layout)
        return work()

    return in_own_thread(CLONE_NEWNS, prepared)


def _rebuild(layout: Layout) -> None:
    links = {entry.name: entry.readlink() for entry in layout.root.iterdir() if entry.is_symlink()}
    # Held open, since the new mount root hides them.
    held = {hierarchy.name: os.open(hierarchy, os.O_PATH | os.O_CLOEXEC) for hierarchy in layout.hierarchies}
    try:
        mounts.mount("cgroup", str(layout.root), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        for name, descriptor in held.items():
            (layout.root / name).mkdir()
            mounts.bind(f"/proc/thread-self/fd/{descriptor}", str(layout.root / name))
        for name, destination in links.items():
            (layout.root / name).symlink_to(destination)
        for name in layout.beyond_v1:
            (layout.root / name).mkdir()
            mounts.mount("cgroup", str(layout.root / name), "cgroup", 0, name)
    finally:
        for descriptor in held.values():
            os.close(descriptor)
