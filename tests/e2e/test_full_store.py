"""A file system that is full when something is to be kept: said at once, with its name; then it goes on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon import running

from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon import Daemon

    from transport.client import Client

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
CHANGED = ("run", "--name", "c")
NOISE = ("dd", "if=/dev/urandom", "of=/x", "bs=1k", "count=3000")
AT_ONCE = 60.0  # seconds; what was tried again and again until a deadline took 300


@pytest.fixture(scope="module")
def small(short_root: Path, busybox: str) -> Iterator[Daemon]:
    """A daemon whose root is a file system of 64 MiB, with an image that one container has changed."""
    directory = Path(tempfile.mkdtemp(prefix="full-", dir=short_root))
    root = directory / "root"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", root], check=True)
    try:
        with running(directory) as daemon:
            daemon.actr("pull", busybox)
            daemon.actr("save", "-o", directory / "image.tar", busybox)
            (directory / "files.tar").write_bytes(_archive(directory))
            daemon.actr(
                "run", "--name", "c", busybox, "dd", "if=/dev/urandom", "of=/x", "bs=1k", "count=3000"
            )
            yield daemon
    finally:
        subprocess.run(["umount", "-l", root], check=True)


def test_what_fills_a_database_can_be_removed_though_there_is_no_room(small: Daemon, busybox: str):
    """A removal is written down too. Who had no room had none to make any, but by hand."""
    small.actr("pull", busybox)
    target = small.json("inspect", "--type", "image", busybox)["target"]
    wish = {"namespace": "default", "target": target, "labels": {"key": "x" * 3000}}
    made: list[str] = []
    with full_but_for(small.root, 0), small.client_in_use() as client:
        with pytest.raises(RemoteError, match="no space left on device on the file system at") as caught:
            _name_until_full(client, wish, made)
        assert not caught.value.retryable
        small.actr("rmi", *made[1:], seconds=AT_ONCE)
        assert {one["name"] for one in small.json("images")} >= {busybox, made[0]}
        assert not {one["name"] for one in small.json("images")} & set(made[1:])
    small.actr("rmi", made[0])
    assert small.json("system", "check") == []


def _name_until_full(client: Client, wish: dict[str, Any], made: list[str]) -> None:
    for number in range(2000):
        name = f"localhost/m:{number}"
        client.request("images.put", {**wish, "name": name}, to="metadata")
        made.append(name)


def _archive(directory: Path) -> bytes:
    (directory / "noise").write_bytes(os.urandom(3_000_000))
    return subprocess.run(["tar", "c", "noise"], cwd=directory, check=True, capture_output=True).stdout


@contextlib.contextmanager
def full_but_for(root: Path, kilobytes: int) -> Iterator[None]:
    """No more room than this on a file system."""
    filler = root / "filler"
    found = os.statvfs(root)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bfree * found.f_frsize - kilobytes * 1024)
    try:
        yield
    finally:
        filler.unlink()


STEPS = {
    "pull": ("pull", "{image}"),
    "pull for the native snapshotter": ("pull", "--snapshotter", "native", "{image}"),
    "load": ("load", "-i", "{directory}/image.tar"),
    "import": ("import", "{directory}/files.tar", "imported"),
    "convert": ("images", "convert", "--compression", "zstd", "{image}", "converted"),
    "commit": ("commit", "c", "committed"),
    "volume": ("volume", "create", "v"),
}


@pytest.mark.parametrize(
    ("step", "kilobytes"),
    [
        *((step, 0) for step in STEPS),
        *((step, 400) for step in STEPS if step != "volume"),  # in the middle of the bytes
        *((step, 2000) for step in ("pull", "load")),  # while it is unpacked
        ("commit", 4500),
    ],
)
def test_no_room_is_said_at_once_and_spoils_nothing(small: Daemon, busybox: str, step: str, kilobytes: int):
    words = [word.format(image=busybox, directory=small.directory) for word in STEPS[step]]
    if step in ("pull", "pull for the native snapshotter", "load"):
        small.actr("rm", "-f", "c", check=None)
        small.actr("rmi", "-f", busybox, check=None)
    else:
        small.actr("pull", busybox)
    if step == "commit" and not any(one["name"] == "c" for one in small.json("ps", "-a")):
        small.actr(*CHANGED, busybox, *NOISE)
    small.actr("system", "gc")
    with full_but_for(small.root, kilobytes):
        done = small.actr(*words, check=1, seconds=AT_ONCE)
        assert small.actr("ps", "-a").returncode == 0
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("actr: ")]
    assert f"no space left on device on the file system at {small.root}, make room there" in said
    small.actr(*words)
    small.actr("system", "gc")
    assert small.json("system", "check") == []
    for name in ("imported", "converted", "committed"):
        small.actr("rmi", "-f", name, check=None)
    small.actr("volume", "rm", "v", check=None)
