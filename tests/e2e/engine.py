"""Debian's Docker Engine on a containerd that a test names, on a host of its own.

The host is a mount and a network namespace: two engines side by side have the same addresses, ports and
rules, so that what they say can be compared as it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import images
import pexpect
from daemon import PATIENCE, Daemon, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCKER: Final = "/usr/bin/docker"  # of the engine's own package, whatever else PATH may have
UP_SECONDS: Final = 60.0
LIMIT: Final = 60.0 * PATIENCE  # seconds for one command


class Host:
    """Namespaces that last as long as a process in them."""

    def __init__(self) -> None:
        words = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c"]
        script = "ip link set lo up && echo ready && exec cat"
        self._anchor = subprocess.Popen([*words, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._anchor.stdout is not None
        assert self._anchor.stdout.readline() == b"ready\n"
        self.enter = ("nsenter", "--target", str(self._anchor.pid), "--mount", "--net", "--wdns=/")

    def run(
        self, *words: str | Path, given: str | None = None, seconds: float = LIMIT
    ) -> subprocess.CompletedProcess[str]:
        """One command on it."""
        stdin = {"input": given} if given is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run(
            [*self.enter, *map(str, words)], capture_output=True, text=True, timeout=seconds, check=False,
            errors="replace", **stdin,
        )  # fmt: skip

    def close(self) -> None:
        assert self._anchor.stdin is not None
        assert self._anchor.stdout is not None
        self._anchor.stdin.close()
        self._anchor.stdout.close()
        self._anchor.wait(10)


@dataclass
class Engine:
    """One dockerd."""

    host: Host
    directory: Path
    containerd: Path  # its socket
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        return f"unix://{self.directory}/docker.sock"

    def start(self, *extra: str) -> None:
        """Until it answers."""
        place = self.directory
        place.mkdir(exist_ok=True)
        config = place / "daemon.json"
        config.write_text("{}")  # not the machine's own
        with (place / "docker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.host.enter, "dockerd", "--config-file", config, "--containerd", self.containerd,
                 "--data-root", place / "data", "--exec-root", place / "exec", "--pidfile", place / "pid",
                 "--host", self.socket, "--shutdown-timeout", "5", "--storage-driver", "overlay2", *extra],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(f"dockerd answers, see {place}/docker.log", self._answers, UP_SECONDS)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "docker.log").read_text()[-3000:]
        return self.client("version").returncode == 0

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(60)
        self.process = None

    def client(
        self, *words: str | Path, given: str | None = None, seconds: float = LIMIT
    ) -> subprocess.CompletedProcess[str]:
        """The command line, on this engine."""
        return self.host.run(*self.command(*words), given=given, seconds=seconds)

    def command(self, *words: str | Path) -> list[str]:
        """Words of the command line."""
        environment = ("env", "DOCKER_BUILDKIT=0", f"DOCKER_CONFIG={self.directory}")
        return [*environment, DOCKER, "--host", self.socket, *map(str, words)]

    def ok(self, *words: str | Path, given: str | None = None) -> str:
        """What it prints; it has to succeed."""
        done = self.client(*words, given=given)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def typed(self, *words: str) -> pexpect.spawn[str]:
        """The command line on a terminal."""
        command = [*self.host.enter, *self.command(*words)]
        return pexpect.spawn(command[0], command[1:], timeout=30, dimensions=(33, 77), encoding="utf-8")


def load_busybox(engine: Engine, archive: Path) -> None:
    """The image `busybox`, of a root made by `root_archive`."""
    change = ("--change", 'CMD ["sh"]')
    engine.ok("import", *change, archive, "busybox")


def root_archive(directory: Path) -> Path:
    """A root of a static busybox and little else."""
    archive = directory / "busybox.tar"
    with tarfile.open(archive, "w") as file:
        images.write_busybox(file)
    return archive


@dataclass
class Peer:
    """Debian's containerd on a host."""

    host: Host
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.directory / "c.sock"

    def start(self) -> None:
        """Until it answers."""
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "config.toml"
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        command = [*self.host.enter, "containerd", "--config", config, "--root", self.directory / "root"]
        command += ["--state", self.directory / "state", "--address", self.socket]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until("containerd answers", self._answers)

    def _answers(self) -> bool:
        return self.host.run("ctr", "--address", self.socket, "version").returncode == 0

    def kill_everything(self) -> None:
        """SIGKILL it and its shims."""
        assert self.process is not None
        for pid in [self.process.pid, *self._shims()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(20)
        wait_until("its shims are gone", lambda: not self._shims())
        self.process = None

    def _shims(self) -> list[int]:
        found, mark = [], str(self.socket).encode()
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = entry.read_bytes().split(b"\0")
                if b"containerd-shim" in words[0] and mark in words:
                    found.append(int(entry.parent.name))
        return found

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)


@contextlib.contextmanager
def containerd(directory: Path, host: Host) -> Iterator[Peer]:
    """Debian's, on that host."""
    peer = Peer(host, directory)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


@contextlib.contextmanager
def actord(directory: Path, host: Host, **more: Any) -> Iterator[Daemon]:
    """Ours, on that host, with its gateway at `state/containerd.sock`."""
    directory.mkdir()
    daemon = Daemon(directory, enter=host.enter, **more)
    daemon.start()
    try:
        wait_until("the gateway listens", (daemon.state / "containerd.sock").exists)
        yield daemon
    finally:
        daemon.containers.append("moby")
        daemon.clean_up()


@contextlib.contextmanager
def engine_on(host: Host, directory: Path, socket: Path, archive: Path) -> Iterator[Engine]:
    """A dockerd with the image `busybox`; ended with all of its containers."""
    engine = Engine(host, directory, socket)
    engine.start()
    try:
        load_busybox(engine, archive)
        yield engine
    finally:
        if engine.process is None:
            engine.start()
        engine.client("swarm", "leave", "--force")
        listed = engine.client("ps", "--all", "--quiet").stdout.split()
        if listed:
            engine.client("rm", "--force", "--volumes", *listed)
        engine.stop()


@contextlib.contextmanager
def on_actord(directory: Path, archive: Path, **more: Any) -> Iterator[tuple[Engine, Daemon]]:
    """A dockerd on an actord of its own; more as `Daemon` has it."""
    with contextlib.closing(Host()) as host, actord(directory / "actord", host, **more) as daemon:
        socket = daemon.state / "containerd.sock"
        with engine_on(host, directory / "docker", socket, archive) as engine:
            yield engine, daemon


@contextlib.contextmanager
def on_containerd(directory: Path, archive: Path) -> Iterator[tuple[Engine, Peer]]:
    """A dockerd on Debian's containerd, and that."""
    with (
        contextlib.closing(Host()) as host,
        containerd(directory / "containerd", host) as peer,
        engine_on(host, directory / "docker", peer.socket, archive) as engine,
    ):
        yield engine, peer
