"""Containers with crun: the filter that it makes for the first is that of all later ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from actors.runtime import filters

if TYPE_CHECKING:
    from pathlib import Path

    from daemon import Daemon

pytestmark = pytest.mark.root


def run(daemon: Daemon, busybox: str, name: str, *flags: str) -> tuple[dict[str, str], bytes]:
    """The annotations that crun was given, and the filter that it had."""
    daemon.actr("run", "-d", "--runtime", "crun", "--name", name, *flags, busybox, "sleep", "300")
    key = daemon.json("inspect", name)["id"]
    spec = json.loads((daemon.state / "containers/default" / key / "config.json").read_text())
    return spec["annotations"], (daemon.state / "runtime" / key / filters.MADE).read_bytes()


def is_confined(daemon: Daemon, name: str) -> None:
    """Its program and another one, by what the kernel says and by what it refuses."""
    script = "grep Seccomp: /proc/1/status /proc/self/status; unshare -U true"
    done = daemon.actr("exec", name, "sh", "-c", script, check=1)
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["2", "2"]
    assert "Operation not permitted" in done.stderr


def kept(daemon: Daemon) -> list[Path]:
    return list((daemon.state / "filters").glob("*"))


def test_the_second_has_what_was_made_for_the_first(daemon: Daemon, busybox: str):
    first, made = run(daemon, busybox, "first")
    second, same = run(daemon, busybox, "second")
    try:
        assert filters.ANNOTATION not in first
        assert filters.ANNOTATION in second
        assert made == same
        assert [file.read_bytes() for file in kept(daemon)] == [made]
        for name in ("first", "second"):
            is_confined(daemon, name)
        more, other = run(daemon, busybox, "third", "--cap-add", "SYS_ADMIN")
        assert filters.ANNOTATION not in more, "it has another profile"
        assert other != made
        assert len(kept(daemon)) == 2
    finally:
        daemon.actr("rm", "-f", "first", "second", "third", check=None)


def test_runc_is_told_nothing_of_it(daemon: Daemon, busybox: str):
    run(daemon, busybox, "c")
    daemon.actr("run", "-d", "--runtime", "runc", "--name", "r", busybox, "sleep", "300")
    key = daemon.json("inspect", "r")["id"]
    try:
        spec = json.loads((daemon.state / "containers/default" / key / "config.json").read_text())
        assert filters.ANNOTATION not in spec["annotations"]
    finally:
        daemon.actr("rm", "-f", "c", "r")
