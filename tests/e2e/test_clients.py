"""Clients in other languages: each reads and writes the vectors, and works through one session with a daemon.

The session (clients/README.md) is the same for all, over the Unix socket and over TCP with keys; in the
middle of it the router is killed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import CHECKOUT, Daemon, free_port, running

from clients.conformance import check_client, check_server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root
CLIENTS = CHECKOUT / "clients"
PATIENCE = 60.0  # seconds for a session
PYTHON = (
    "env",
    f"PYTHONPATH={CLIENTS / 'python'}",
    sys.executable,
    "-Xfaulthandler",
    "-P",
    str(CLIENTS / "python/session.py"),
)
PROGRAMS: dict[str, tuple[str, ...]] = {"python": PYTHON}
SESSION = """\
connected, protocol 1
list: metadata is there
error: not_found
pull: progress, then {image}
run: 200000 bytes out, 5 bytes err, exit 7
exec: from exec, exit 0
events: /containers/create, resumed: /tasks/start /tasks/exec-started
overload: 5000 answered, refused, cancelled and done
kill the router
reconnected: every line, once
bye
"""


@pytest.fixture(scope="module")
def far(short_root: Path, busybox: str) -> Iterator[Daemon]:
    directory = short_root / "clients"
    directory.mkdir()
    with running(directory, "--listen", f"tcp://127.0.0.1:{free_port()}") as started:
        started.actr("pull", busybox)
        started.actr("keys", "new", "oscar", "--role", "operator", "-o", directory / "oscar.json")
        yield started


def talk(far: Daemon, command: list[str]) -> tuple[list[str], str, int]:
    """Its lines, its complaints, its exit code; the router is killed when it says so."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        watchdog = threading.Timer(PATIENCE, process.send_signal, [signal.SIGABRT])
        watchdog.start()
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if line == "kill the router\n":
                    far.kill_actor("router")
                    process.stdin.write("killed\n")
                    process.stdin.flush()
            return lines, process.stderr.read(), process.wait()
        finally:
            watchdog.cancel()
            watchdog.join()
            process.kill()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_client_reads_and_writes_every_vector(name: str):
    assert check_client([*PROGRAMS[name], "vectors"]) == []


@pytest.mark.parametrize("way", ["ipc", "tcp"])
@pytest.mark.parametrize(("name", "mode"), [*((name, "session") for name in PROGRAMS), ("python", "async")])
def test_a_client_works_through_the_session(far: Daemon, busybox: str, name: str, mode: str, way: str):
    file = far.state / "connection.json" if way == "ipc" else far.directory / "oscar.json"
    lines, complaints, code = talk(far, [*PROGRAMS[name], mode, str(file), busybox])
    assert "".join(lines) == SESSION.format(image=busybox), complaints
    assert code == 0
    assert far.json("ps", "-a") == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_client_says_what_is_wrong(far: Daemon, tmp: Path, name: str):
    missing = subprocess.run(
        [*PROGRAMS[name], "session", str(tmp / "none.json"), "x"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert missing.returncode != 0
    assert f"cannot read {tmp / 'none.json'}" in missing.stderr


@pytest.mark.parametrize("way", ["ipc", "tcp"])
def test_the_daemon_keeps_the_protocol(far: Daemon, way: str):
    file = far.state / "connection.json" if way == "ipc" else far.directory / "oscar.json"
    assert check_server(str(file)) == []
