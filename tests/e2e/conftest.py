"""What end-to-end tests share: one registry with real images for the session, a daemon for each module."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import images
import pytest
from daemon import Daemon, running
from gateway_api import Api, serving
from registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def registry(short_root: Path) -> Iterator[Registry]:
    """A real docker-registry with a busybox image of one platform and one in an index."""
    directory = Path(tempfile.mkdtemp(prefix="registry-", dir=short_root))
    with Registry(directory) as started:
        layout = images.busybox(directory / "busybox", "latest", platforms=("amd64", "arm64"))
        images.push(layout, "latest", f"{started.host}/library/busybox:latest")
        yield started


@pytest.fixture(scope="session")
def busybox(registry: Registry) -> str:
    """The name of the busybox image."""
    return f"{registry.host}/library/busybox:latest"


@pytest.fixture(scope="module")
def daemon(short_root: Path, busybox: str) -> Iterator[Daemon]:
    """A daemon that has the busybox image."""
    with running(Path(tempfile.mkdtemp(prefix="d-", dir=short_root))) as started:
        started.actr("pull", busybox)
        yield started


@pytest.fixture
def own_daemon(tmp: Path, busybox: str) -> Iterator[Daemon]:
    """A daemon of the test's own, which it may treat badly."""
    with running(tmp) as started:
        started.actr("pull", busybox)
        yield started


@pytest.fixture(scope="module")
def gateway(short_root: Path) -> Iterator[Daemon]:
    """A daemon that serves containerd's API, and has nothing yet."""
    with serving(Path(tempfile.mkdtemp(prefix="t-", dir=short_root))) as (started, _):
        yield started


@pytest.fixture
def api(gateway: Daemon) -> Iterator[Api]:
    """A client of that daemon."""
    found = Api.at(gateway.state / "containerd.sock")
    yield found
    found.channel.close()


@pytest.fixture
def root(tmp: Path) -> Path:
    """The root directory of a container: a busybox and little else."""
    for name in ("bin", "proc", "dev"):
        (tmp / "root" / name).mkdir(parents=True)
    own = Path(sys.executable).parent / "busybox"
    busybox = own if own.exists() else shutil.which("busybox")
    subprocess.run(["cp", busybox, tmp / "root/bin/busybox"], check=True)
    subprocess.run(["chroot", tmp / "root", "/bin/busybox", "--install", "-s", "/bin"], check=True)
    return tmp / "root"
