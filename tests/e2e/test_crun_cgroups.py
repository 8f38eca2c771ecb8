"""Containers with crun leave no control group behind, in hierarchies that are mounted nowhere neither."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from daemon import wait_until

from actors.linux import cgroup_view, cgroups, unseen

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = pytest.mark.root


def _is_there(path: str) -> list[bool]:
    """In each hierarchy that crun is shown by us alone."""
    found = []
    for controller in cgroups.mounted().beyond_v1:
        with unseen.hierarchy(controller) as top:
            try:
                os.stat(path.lstrip("/"), dir_fd=top)
            except FileNotFoundError:
                found.append(False)
            else:
                found.append(True)
    return found


@pytest.mark.parametrize("flags", [("--rm",), (), ("-d",)], ids=["rm", "kept", "detached"])
def test_nothing_is_left_where_nobody_looks(daemon: Daemon, busybox: str, flags: tuple[str, ...]):
    if not cgroup_view.needs_private_view(cgroups.mounted()):
        pytest.skip("this host's crun needs no view of its own: every controller is where it looks")
    daemon.actr("run", "-d", "--runtime", "crun", "--name", "seen", busybox, "sleep", "300")
    seen = daemon.json("inspect", "seen")["id"]
    assert any(_is_there(f"/actord/default/{seen}")), "else the test shows nothing"
    daemon.actr("rm", "-f", "seen")
    words = ["sleep", "300"] if "-d" in flags else ["true"]
    daemon.actr("run", *flags, "--runtime", "crun", "--name", "c", busybox, *words)
    [made] = [event["body"]["id"] for event in daemon.json("events", "--no-follow")
              if event["topic"] == "/containers/create" and event["body"]["id"] != seen][-1:]  # fmt: skip
    daemon.actr("rm", "-f", "c", check=None)
    wait_until("nothing is left", lambda: not any(_is_there(f"/actord/default/{made}")))
    assert not any(_is_there(f"/actord/default/{seen}"))
