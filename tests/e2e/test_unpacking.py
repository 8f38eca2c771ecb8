"""Unpacking by the daemon: both snapshotters, layers at the same time, what is left when it fails."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import images
import pytest
from daemon import wait_until

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable

    from daemon import Daemon
    from registry import Registry

pytestmark = pytest.mark.root


def stacked(directory: Path, *layers: Callable[[tarfile.TarFile], None]) -> images.Layout:
    """A busybox image with these layers on top, under the tag `t`."""
    layout = images.Layout(directory)
    base = layout.add_layer(images.write_busybox)
    config = {"Cmd": ["sh"], "Env": [images.PATH]}
    layout.tag("t", layout.add_image([base, *map(layout.add_layer, layers)], config))
    return layout


def symlinked(tar: tarfile.TarFile) -> None:
    tar.addfile(images.symlink_entry("lib", "/usr/lib"))
    tar.addfile(images.directory_entry("usr/lib", 0o750))
    images.add_file(tar, "usr/lib/one", b"1")
    images.add_file(tar, "etc/motd", b"of the second layer\n")


def through_it(tar: tarfile.TarFile) -> None:
    """Stands wherever the layer below says that lib is."""
    images.add_file(tar, "lib/two", b"2")
    images.add_file(tar, "etc/.wh.motd", b"")


def unlisted(tar: tarfile.TarFile) -> None:
    images.add_file(tar, "usr/lib/three", b"3")


def test_layers_unpacked_at_once_depend_on_each_other(daemon: Daemon, registry: Registry, tmp: Path):
    name = f"{registry.host}/library/stacked:t"
    images.push(stacked(tmp / "image", symlinked, through_it, unlisted), "t", name)
    daemon.actr("pull", name)
    look = ("sh", "-c", "ls /usr/lib /etc; stat -c %a /usr/lib; readlink /lib")
    shown = daemon.actr("run", "--rm", name, *look).stdout.split()
    assert shown == [
        "/etc:",
        "group",
        "passwd",
        "shadow",
        "/usr/lib:",
        "one",
        "three",
        "two",
        "750",
        "/usr/lib",
    ]
    daemon.actr("pull", "--snapshotter", "native", name)
    assert daemon.actr("run", "--rm", "--snapshotter", "native", name, *look).stdout.split() == shown


def test_a_container_on_the_native_snapshotter(daemon: Daemon, registry: Registry, tmp: Path):
    busybox = f"{registry.host}/library/native:t"
    images.push(stacked(tmp / "image", unlisted), "t", busybox)
    daemon.actr("pull", busybox)
    refused = daemon.actr("run", "--rm", "--snapshotter", "native", busybox, "true", check=None)
    assert refused.returncode == 125
    assert "is not unpacked in snapshotter native: pull it there" in refused.stderr
    daemon.actr("pull", "--snapshotter", "native", busybox)
    found = daemon.actr(
        "run", "--name", "n", "--snapshotter", "native", busybox, "grep", " / ", "/proc/mounts"
    )
    assert " / overlay" not in found.stdout
    assert daemon.json("inspect", "n")["snapshotter"] == "native"
    daemon.actr("rm", "n")
    with closing(daemon.client()) as client:
        listed = client.request(
            "snapshots.list", {"namespace": "default", "snapshotter": "native"}, to="snapshots", limit=10
        )
    assert {one["kind"] for one in listed["snapshots"]} == {"committed"}


def test_a_layer_beyond_the_limits_of_the_configuration(own_daemon: Daemon, registry: Registry, tmp: Path):
    def many(tar: tarfile.TarFile) -> None:
        for number in range(600):
            images.add_file(tar, f"f{number}", b"")

    name = f"{registry.host}/library/many:t"
    images.push(stacked(tmp / "image", many), "t", name)
    own_daemon.stop()
    own_daemon.settings = "[layers]\nentries = 500\n"
    own_daemon.start()
    refused = own_daemon.actr("pull", name, check=None)
    assert refused.returncode != 0
    assert "more than 500 headers" in refused.stderr
    with closing(own_daemon.client()) as client:
        listed = client.request("snapshots.list", {"namespace": "default"}, to="snapshots", limit=10)
    assert not [one for one in listed["snapshots"] if one["key"].startswith("extract ")]


def test_a_killed_writer_fails_the_pull_and_no_more(own_daemon: Daemon, registry: Registry, tmp: Path):
    def large(tar: tarfile.TarFile) -> None:
        images.add_file(tar, "large", bytes(1 << 20) * 250)

    name = f"{registry.host}/library/large:t"
    images.push(stacked(tmp / "image", large), "t", name)
    with own_daemon.popen("pull", name) as pull:
        os.kill(wait_until("a layer is being applied", lambda: writers(own_daemon)), signal.SIGKILL)
        _, complaint = pull.communicate(timeout=60)
    assert pull.returncode != 0
    assert b"the process that applied it was killed, try again" in complaint
    wait_until("a new pull succeeds", lambda: own_daemon.actr("pull", name, check=None).returncode == 0)
    assert own_daemon.actr("run", "--rm", name, "stat", "-c", "%s", "/large").stdout == f"{250 << 20}\n"


def writers(daemon: Daemon) -> int:
    """A process that applies a layer: a child of a puller."""
    pullers = [one["pid"] for one in daemon.actors().values() if one["kind"] == "puller"]
    for pid in filter(None, pullers):
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found = task.read_text().split()
            except OSError:
                continue
            if found:
                return int(found[0])
    return 0
