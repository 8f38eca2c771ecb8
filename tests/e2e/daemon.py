"""A real daemon for a test: started from the checkout, spoken to with bin/actr, ended with all it started."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e import runtime_schema
from transport.client import Client
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE = float(os.environ.get("ACTORD_TEST_PATIENCE", "1"))  # how many times as slow a machine may be
READY_SECONDS = 60.0
STOP_SECONDS = 40.0


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `condition` returns once it is true; fails the test when that takes too long.

    A file or a process that it looks at and that is not there (yet, or just now: a log that is being rotated)
    means that it is not true.
    """
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    missing: OSError | None = None
    while True:
        try:
            if found := condition():
                return found
        except (FileNotFoundError, ProcessLookupError) as error:
            missing = error
        assert time.monotonic() < end, f"not within {seconds} s: {what}" + (f"; {missing}" if missing else "")
        time.sleep(0.02)


@dataclass
class Daemon:
    """One actord with directories of its own."""

    directory: Path
    extra: tuple[str, ...] = ()
    settings: str = ""  # more of the configuration file, in TOML; at first of [metrics]
    sleep_after: float = 3600.0  # most tests look up who is awake
    process: subprocess.Popen[bytes] | None = None
    containers: list[str] = field(default_factory=list)
    ready_seconds: float = READY_SECONDS
    metrics: str = "127.0.0.1:0"
    runtime: str = "runc"
    enter: tuple[str, ...] = ()  # words before the command, to start it in namespaces of a host

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def specs(self) -> Path:
        """Every config.json that a runtime was given."""
        return self.directory / "specs"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def start(self) -> None:
        config = self.directory / "actord.toml"
        self.specs.mkdir(exist_ok=True)
        runtime = f'[runtime]\nname = "{self.runtime}"\nkeep_specs = "{self.specs}"\n'
        sleep = f"[supervision]\nsleep_after = {self.sleep_after}\n"
        metrics = f'[metrics]\nlisten = "{self.metrics}"\n{self.settings}'
        config.write_text(f"{runtime}{sleep}{metrics}")
        (self.state / "connection.json").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.enter, CHECKOUT / "bin/actord", "--root", self.root, "--state", self.state,
                 "--config", config, *self.extra],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_until(f"the daemon is up, see {self.log}", self._up, self.ready_seconds)
        except AssertionError:
            self.kill_everything()
            raise

    def _up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return (self.state / "connection.json").exists()

    def stop(self) -> int:
        """In order, as systemd would."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(STOP_SECONDS * PATIENCE)
        self.process = None
        return code

    def actr(
        self, *words: str | Path, check: int | None = 0, stdin: bytes | None = None, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run bin/actr against this daemon; `check` is the exit code that it must have, None for any."""
        env = {**os.environ, "ACTORD_ADDRESS": str(self.state / "actord.sock")}
        done = subprocess.run(
            [CHECKOUT / "bin/actr", *map(str, words)], env=env, input=stdin.decode() if stdin else None,
            stdin=None if stdin else subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds * PATIENCE, check=False,
        )  # fmt: skip
        if check is not None:
            assert done.returncode == check, (
                words,
                done.returncode,
                done.stdout[-2000:],
                done.stderr[-2000:],
            )
        return done

    def popen(self, *words: str, **how: Any) -> subprocess.Popen[bytes]:
        """bin/actr in the background."""
        env = {**os.environ, "ACTORD_ADDRESS": str(self.state / "actord.sock")}
        return subprocess.Popen(
            [CHECKOUT / "bin/actr", *words], env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how,
        )  # fmt: skip

    def json(self, *words: str) -> Any:
        return json.loads(self.actr(*words, "--format", "json").stdout)

    def requests(self) -> int:
        """How many its router has seen so far, with the question for this number."""
        with self.client_in_use() as client:
            return int(client.request("router.peers", {}, to="router")["counters"]["received_REQ"])

    def actors(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in self.json("actors")}

    def pid(self, name: str) -> int:
        return int(self.actors()[name]["pid"])

    def kill_actor(self, name: str) -> int:
        """SIGKILL one actor's process; returns the pid it had."""

        def killed() -> int:
            pid = self.pid(name)
            if not pid and name.startswith(
                "container/"
            ):  # it may sleep: whoever asks it for something wakes it
                with self.client_in_use() as client, contextlib.suppress(RemoteError):
                    client.request("tasks.state", {}, to=name, repeatable=True)
            try:
                os.kill(pid, signal.SIGKILL) if pid else None
            except ProcessLookupError:  # it ended while it was looked up
                return 0
            return pid

        found: int = wait_until(f"{name} has a process that is killed", killed)
        return found

    def healed(self, name: str, old_pid: int) -> bool:
        """Whether a new incarnation runs and the whole tree is well."""
        try:
            actors = self.actors()
        except AssertionError:  # the router or the supervisor is only just coming back
            return False
        well = all(one["state"] in ("running", "asleep") for one in actors.values())
        return well and name in actors and actors[name]["pid"] != old_pid

    def processes(self) -> dict[int, str]:
        """Every process of this daemon, survivors included: pid to command line."""
        mark = str(self.state).encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    line = (entry / "cmdline").read_bytes()
                    if mark in line and b"actors.zygote" in line:
                        found[int(entry.name)] = line.decode(errors="replace")
        return found

    def kill_everything(self) -> None:
        """SIGKILL every actord process at once, container actors included, and those only just forked."""
        wait_until("all of actord is gone", lambda: not self._kill_all())
        if self.process is not None:
            self.process.wait(10)
            self.process = None

    def _kill_all(self) -> bool:
        """Whether there was anybody but zombies left to kill."""
        found = [pid for pid in self.processes() if self.process is None or pid != self.process.pid]
        for pid in [*([self.process.pid] if self.process else []), *found]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(found) or (self.process is not None and self.process.poll() is None)

    def client(self) -> Client:
        return Client(str(self.state / "actord.sock"))

    @contextlib.contextmanager
    def client_in_use(self) -> Iterator[Client]:
        """A connection for the length of a block."""
        with contextlib.closing(self.client()) as client:
            yield client

    @property
    def scope(self) -> str:
        """What its interfaces and its table are named after."""
        return hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]

    def interfaces(self) -> list[str]:
        """Its own on this host, by their alias: others come and go."""
        own = f"actord {self.scope} "
        found = []
        for path in Path("/sys/class/net").glob("*/ifalias"):
            with contextlib.suppress(OSError):  # gone meanwhile
                found += [path.parent.name] if path.read_text().startswith(own) else []
        return sorted(found)

    def clean_up(self) -> None:
        """Remove every container, stop, and make sure that nothing lives on; then look at what was run."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        try:
            self._remove_all()
            self.stop()
        finally:
            self.kill_everything()
        assert runtime_schema.violations_in(self.specs) == []

    def _remove_all(self) -> None:
        for namespace in {"default", *self.containers}:
            for one in self.json("--namespace", namespace, "ps", "-a"):
                self.actr("--namespace", namespace, "rm", "-f", one["id"], check=None)
        if self.interfaces():  # networks outlive the daemon, for the sake of containers, which are gone
            for one in self.json("network", "ls"):
                self.actr("network", "rm", one["name"])


@contextlib.contextmanager
def running(directory: Path, *extra: str, settings: str = "", **more: Any) -> Iterator[Daemon]:
    """A daemon for the length of a block; more as `Daemon` has it."""
    daemon = Daemon(directory, extra, settings, **more)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.clean_up()
