"""The Debian package: installed, used, upgraded and downgraded under running containers, purged.

All of it in a copy of this machine's root (an overlay that is thrown away), with its own /run and without
systemd; dpkg is the real one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import CHECKOUT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]
CONTAINERS = int(os.environ.get("ACTORD_TEST_PACKAGE_CONTAINERS", "3"))
ROOM = """
set -e
mount -t overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" overlay "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /sys "$1/root/sys"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs run "$1/root/run"
mount --bind "$1/store" "$1/root/mnt"
echo ready
exec sleep 900
"""


class Room:
    """A root of its own, as long as the process that holds its mounts lives."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("upper", "work", "root", "store"):
            (directory / name).mkdir()
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ROOM, "sh", str(directory)]
        self.holder = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == "ready\n"
        self.daemon: subprocess.Popen[bytes] | None = None

    def words(self, *words: str) -> list[str]:
        inside = ["nsenter", f"--target={self.holder.pid}", "--mount", "chroot", f"{self.directory}/root"]
        return [*inside, "env", "-i", f"PATH={os.environ['PATH']}", "LC_ALL=C", *words]

    def run(self, *words: str, check: int | None = 0) -> str:
        done = subprocess.run(
            self.words(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = (done.stdout[-2000:], done.stderr[-2000:])
        assert check is None or done.returncode == check, (words, *said, f"the daemon's log: {self.log()}")
        return done.stdout

    def log(self) -> str:
        """The end of the daemon's."""
        path = self.directory / "log"
        return path.read_text()[-3000:] if path.exists() else ""

    def start(self) -> None:
        words = self.words("actord", "--root", "/mnt/actord", "--config", "/etc/actord/actord.toml")
        with (self.directory / "log").open("ab") as log:
            self.daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until("the daemon is up", lambda: "daemon" in self.run("actr", "version", check=None))

    def stop(self) -> None:
        """In order; its containers run on."""
        assert self.daemon is not None
        self.daemon.terminate()
        assert self.daemon.wait(60) == 0
        self.daemon = None

    def pids(self) -> dict[str, str]:
        """Of what runs, by container."""
        lines = self.run("actr", "ps").splitlines()[1:]
        return {line.split()[0]: line.split()[-1] for line in lines}

    def alive(self, pids: list[str]) -> list[str]:
        return [pid for pid in pids if Path(f"/proc/{pid}").exists()]

    def close(self) -> None:
        with contextlib.suppress(AssertionError):
            if self.daemon is not None:
                names = self.run("actr", "ps", "-aq").split()
                self.run("actr", "rm", "-f", *names) if names else None
                self.stop()
        self.holder.kill()
        self.holder.communicate()


@pytest.fixture(scope="module")
def debs(short_root: Path) -> list[Path]:
    """The package of this checkout, and the same as the next version."""
    directory = short_root / "debs"
    words = [CHECKOUT / "bin/package", "--output", directory]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    [first] = directory.iterdir()
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "-R", first, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*", "Version: 9.0.0", control.read_text()))
    second = directory / "next.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, second]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(tree)
    return [first, second]


@pytest.fixture
def room(tmp: Path) -> Iterator[Room]:
    found = Room(tmp)
    try:
        yield found
    finally:
        found.close()
        shutil.rmtree(tmp / "work", ignore_errors=True)


def install(room: Room, deb: Path) -> None:
    shutil.copy(deb, room.directory / "store/actord.deb")
    room.run("dpkg", "--force-downgrade", "--install", "/mnt/actord.deb")


def test_installed_used_upgraded_downgraded_and_purged(room: Room, debs: list[Path], busybox: str):
    install(room, debs[0])
    assert room.run("actord", "--version").startswith("actord ")
    assert "ACTORD(8)" in room.run("sh", "-c", "zcat /usr/share/man/man8/actord.8.gz").replace(" 8 ", "(8) ")
    assert "complete -o default -F _actr actr" in room.run(
        "cat", "/usr/share/bash-completion/completions/actr"
    )
    room.start()
    imports = room.run("sh", "-c", "/usr/bin/python3 -ISv /usr/bin/actr version --client 2>&1")
    assert "import 'cli.version' # <cli.kept.Kept" in imports
    room.run("actr", "pull", "-q", busybox)
    assert room.run("actr", "run", "--rm", busybox, "echo", "packaged") == "packaged\n"
    for number in range(CONTAINERS):
        room.run("actr", "run", "-d", "--name", f"c{number}", busybox, "sleep", "900")
    before = room.pids()
    assert len(before) == CONTAINERS
    for deb, version in ((debs[1], "9.0.0"), (debs[0], debs[0].name.split("_")[1])):
        room.stop()
        install(room, deb)
        assert room.run("dpkg-query", "-W", "-f", "${Version}", "actord") == version
        room.start()
        assert room.pids() == before, "what ran runs on, and nothing was started anew"
        assert room.run("actr", "exec", "c0", "echo", "still here") == "still here\n"
    files = [Path(line) for line in room.run("dpkg", "-L", "actord").split()]
    assert len(files) > 500
    said = room.run("sh", "-c", "dpkg --remove actord 2>&1")
    assert room.alive(list(before.values())) == [], f"nobody is left to look after them: {said}"
    room.stop()
    room.run("mkdir", "-p", "/var/lib/actord/content")
    room.run("dpkg", "--purge", "actord")
    left = room.run(
        "sh", "-c", 'for f; do [ -d "$f" ] || [ ! -e "$f" ] || echo $f; done', "sh", *map(str, files)
    )
    assert left == ""
    for gone in ("/var/lib/actord", "/run/actord", "/etc/actord", "/usr/lib/actord"):
        room.run("test", "!", "-e", gone)
