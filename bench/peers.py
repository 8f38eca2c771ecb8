"""The daemons under comparison, each in a directory of its own, started and ended here by process id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

ROOT: Final = Path(__file__).resolve().parents[1]
READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0


class Daemon(ABC):
    """A daemon that runs between enter and exit; all it keeps is below DIRECTORY.

    Its state is on a tmpfs, as in /run of an ordinary machine, whatever the build machine's /run is.
    Its containers are to be removed before the exit: what is still mounted below DIRECTORY then is unmounted.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.log = directory / "log"
        self.state = directory / "state"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What starts the daemon, in the foreground."""

    def own_processes(self) -> list[int]:
        """The process ids of all that belongs to the daemon; containers do not."""
        return [self._process.pid] if self._process else []

    @abstractmethod
    def client(self, *arguments: str) -> list[str]:
        """The command line that has the daemon's own client do ARGUMENTS."""

    def probe(self) -> list[str]:
        """A client's command that succeeds once the daemon serves."""
        return self.client("version")

    def run(self, *arguments: str) -> str:
        """Run the client, not timed; returns what it printed.

        Raises:
            RuntimeError: it failed; with what it wrote to standard error.
        """
        done = subprocess.run(
            self.client(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(done.args)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def __enter__(self) -> Self:
        self.state.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=711", "state", str(self.state)], check=True)
        self.start()
        return self

    def start(self) -> None:
        """Start it, on what it has kept, and return once it serves. Raises RuntimeError."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self._stop(self._process)
            raise

    def kill(self) -> None:
        """SIGKILL all that belongs to it; containers run on."""
        for pid in self.own_processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._stop(self._process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + READY_SECONDS
        while subprocess.run(
            self.probe(), stdin=subprocess.DEVNULL, capture_output=True, check=False
        ).returncode:
            if process.poll() is not None or time.monotonic() > end:
                text = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.command()[0]} does not serve; the end of its log:\n{text}")
            time.sleep(0.05)

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for mount in reversed(mounts_below(self.directory)):
            subprocess.run(["umount", "--lazy", mount], check=False)


class Containerd(Daemon):
    """The distribution's containerd, with its defaults less the plugins that have no part in this."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.socket = directory / "containerd.sock"
        self._config = directory / "config.toml"
        self._config.write_text(self._settings())

    def _settings(self) -> str:
        quoted = {name: json.dumps(str(self.directory / name)) for name in ("root", "state", "opt")}
        return f"""version = 2
root = {quoted["root"]}
state = {quoted["state"]}
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.restart"]
[grpc]
address = {json.dumps(str(self.socket))}
[plugins."io.containerd.internal.v1.opt"]
path = {quoted["opt"]}
"""

    def command(self) -> list[str]:
        """Only warnings are logged, as with most installations."""
        return ["containerd", "--config", str(self._config), "--log-level", "warn"]

    def client(self, *arguments: str) -> list[str]:
        """The ctr command that does ARGUMENTS."""
        return ["ctr", "--address", str(self.socket), *arguments]

    def version(self) -> str:
        """Its version."""
        words = subprocess.run(
            ["containerd", "--version"], check=True, capture_output=True, text=True
        ).stdout.split()
        return words[2]

    def own_processes(self) -> list[int]:
        """The daemon itself and its shims."""
        return [*super().own_processes(), *self.shims()]

    def shims(self) -> list[int]:
        """The process ids of this daemon's shims, one for each container."""
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if self._is_shim(entry)]

    def _is_shim(self, entry: Path) -> bool:
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            return False
        return b"containerd-shim" in arguments[0] and str(self.socket).encode() in arguments


class Actord(Daemon):
    """This checkout's daemon and command line; `settings` is its configuration file, in TOML."""

    def __init__(self, directory: Path, settings: str = "") -> None:
        super().__init__(directory)
        self._root = directory / "root"
        self._config = directory / "actord.toml"
        self._config.write_text(settings)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._wait_until_whole()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _wait_until_whole(self) -> None:
        """Actors start one after the other; `version` is answered when there are four of fifteen."""
        end = time.monotonic() + READY_SECONDS
        while {"undefined", "starting"} & {actor["state"] for actor in self._actors()}:
            if time.monotonic() > end:
                raise RuntimeError(f"actord: not all of it has started: {self._actors()}")
            time.sleep(0.05)

    def _actors(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("actors", "--format", "json"))
        return found

    def command(self) -> list[str]:
        """The daemon with its defaults, but for what was given."""
        place = ["--root", str(self._root), "--state", str(self.state)]
        return [str(ROOT / "bin" / "actord"), *place, "--config", str(self._config)]

    def client(self, *arguments: str) -> list[str]:
        """The actr command that does ARGUMENTS."""
        return [str(ROOT / "bin" / "actr"), "--address", str(self.state / "actord.sock"), *arguments]

    @property
    def address(self) -> str:
        """The daemon's socket."""
        return str(self.state / "actord.sock")

    def version(self) -> str:
        """The commit of the checkout, if it is one."""
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        try:
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return "unknown"

    def processes(self) -> list[int]:
        """The process ids of all that descends from the daemon, itself among them."""
        found = [self._process.pid] if self._process else []
        for pid in found:  # grows while it is walked
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    found += map(int, children.read_text().split())
        return found

    def own_processes(self) -> list[int]:
        """Those of them that are its own, by their command lines: containers are not."""
        return [pid for pid in self.processes() if _is_of_actord(pid)]

    def container_actors(self) -> list[int]:
        """The process ids of its container actors, 0 for one that sleeps."""
        return [actor["pid"] for actor in self._actors() if actor["name"].startswith("container/")]


def _is_of_actord(pid: int) -> bool:
    try:
        return b"actors.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return False


def mounts_below(directory: Path) -> list[str]:
    """The mount points below DIRECTORY, in the order in which they were mounted."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{directory}/")]
