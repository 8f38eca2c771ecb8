"""A machine that lacks a program: what needs it says so at once, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest
from daemon import running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
SOME = ("env", "sh", "runc", "readlink", "mount")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_without_nft_networks_are_refused_and_the_rest_works(tmp: Path, busybox: str):
    programs = tmp / "programs"
    programs.mkdir()
    for name in SOME:
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    place = tmp / "d"
    place.mkdir()
    with running(place, enter=("env", f"PATH={programs}")) as daemon:
        daemon.actr("pull", "-q", busybox)
        for words in (
            ("network", "create", "lacking"),
            ("run", "--rm", "-p", f"127.0.0.1:{free_port()}:80", busybox, "true"),
        ):
            said = daemon.actr(*words, check=None)
            assert said.returncode
            assert "nft is missing: apt-get install nftables" in said.stderr
            assert "tried" not in said.stderr
        assert "lacking" not in [one["name"] for one in daemon.json("network", "ls")]
        assert daemon.actr("run", "--rm", busybox, "echo", "hello").stdout == "hello\n"
        (programs / "nft").symlink_to(os.path.realpath(shutil.which("nft") or ""))
        daemon.actr("network", "create", "lacking")
        daemon.actr("network", "rm", "lacking")
