"""Terminals, as a person at one sees them: editors, sizes, keys, crashes; with runc and with crun."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest
from daemon import CHECKOUT, wait_until
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon import Daemon

pytestmark = pytest.mark.root
RUNTIMES = ("runc", "crun")


@contextlib.contextmanager
def at(daemon: Daemon, *words: str, **size: int) -> Iterator[Terminal]:
    terminal = Terminal(daemon, *words, **size)
    try:
        yield terminal
    finally:
        terminal.close()


@contextlib.contextmanager
def sleeper(daemon: Daemon, image: str, runtime: str) -> Iterator[str]:
    name = daemon.actr("run", "-d", "--runtime", runtime, image, "sleep", "600").stdout.strip()
    try:
        yield name
    finally:
        daemon.actr("rm", "-f", name)


LISTINGS = (
    "ps -a", "images", "images check", "actors", "tree", "top --no-stream", "top sleepy", "stats --no-stream",
    "network ls", "volume ls", "leases ls", "content ls", "keys ls", "node ls", "system df", "doctor",
)  # fmt: skip


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_no_listing_is_wider_than_its_terminal(daemon: Daemon, busybox: str, columns: int):
    name = "sleepy-and-of-a-name-that-alone-takes-most-of-a-line"
    daemon.actr("run", "-d", "--name", name, busybox, "sh", "-c", "sleep 600; echo that was all there is")
    daemon.actr("rename", name, "sleepy")
    daemon.actr("create", "--name", name, busybox)
    daemon.actr("volume", "create", name)
    daemon.actr("leases", "create", name)
    try:
        for listing in LISTINGS:
            with at(daemon, *listing.split(), columns=columns, rows=200) as terminal:
                said = terminal.child.read().decode().replace("\r", "")
            lines = re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines()
            assert lines, listing
            assert max(map(len, lines)) <= columns, f"{listing}\n{said}"
    finally:
        daemon.actr("rm", "-f", "sleepy", name)
        daemon.actr("volume", "rm", name)
        daemon.actr("leases", "rm", name)


def edit(terminal: Terminal) -> None:
    """Write two lines in vi, make the window larger, leave with :wq."""
    terminal.until("an empty file in 20 rows", lambda now: now.lines[1:19] == ["~"] * 18)
    terminal.type("ifirst line\rsecond line\x1b")
    terminal.until_text("second line")
    assert terminal.lines[:3] == ["first line", "second line", "~"]
    terminal.resize(30, 100)

    def redrawn(now: Terminal) -> bool:
        """A redraw that came before the new size shows the old one: it is asked for again."""
        if now.lines[:2] == ["first line", "second line"] and now.lines[2:29] == ["~"] * 27:
            return True
        now.type("\x0c")
        return False

    terminal.until("vi in 30 rows", redrawn)
    terminal.type(":wq\r")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_vi_in_run(daemon: Daemon, busybox: str, runtime: str):
    script = "vi /tmp/file; echo; stty size; cat /tmp/file"
    words = ("run", "--rm", "-it", "--runtime", runtime, busybox, "sh", "-c", script)
    with at(daemon, *words, rows=20, columns=80) as terminal:
        edit(terminal)
        terminal.until_text("30 100")
        assert terminal.ended() == 0
        assert terminal.lines[terminal.lines.index("30 100") + 1 :][:2] == ["first line", "second line"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_vi_in_exec(daemon: Daemon, busybox: str, runtime: str):
    with sleeper(daemon, busybox, runtime) as name:
        with at(daemon, "exec", "-it", name, "vi", "/tmp/file", rows=20, columns=80) as terminal:
            edit(terminal)
            assert terminal.ended() == 0
        assert daemon.actr("exec", name, "cat", "/tmp/file").stdout == "first line\nsecond line\n"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_size_is_there_before_the_program(daemon: Daemon, busybox: str, runtime: str):
    with at(
        daemon, "run", "--rm", "-it", "--runtime", runtime, busybox, "stty", "size", rows=33, columns=77
    ) as now:
        assert now.ended() == 0
        assert now.lines[0] == "33 77"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_session_goes_on_after_its_actor_was_killed(daemon: Daemon, busybox: str, runtime: str):
    with at(
        daemon, "run", "--rm", "-it", "--runtime", runtime, "--name", f"s-{runtime}", busybox, "sh"
    ) as terminal:
        terminal.until("a prompt", lambda now: "#" in now.text)
        (record,) = [one for one in daemon.json("ps") if one["name"] == f"s-{runtime}"]
        for turn in range(3):
            pid = daemon.kill_actor(record["actor"])
            terminal.type(f"echo turn$(({turn} + 10))\r")
            terminal.until_text(f"turn{turn + 10}")
            wait_until("the actor is back", lambda old=pid: daemon.healed(record["actor"], old))
        terminal.resize(40, 90)
        terminal.type("clear; stty size\r")
        terminal.until_text("40 90")
        terminal.type("clear; for n in $(seq 10 12); do echo turn$n; done; exit 5\r")
        assert terminal.ended() == 5
        shown = [line for line in terminal.lines if line.startswith("turn")]
        assert shown == ["turn10", "turn11", "turn12"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_keys_detach_and_attach_comes_back(daemon: Daemon, busybox: str, runtime: str):
    with at(daemon, "run", "-it", "--runtime", runtime, "--name", "keys", busybox, "sh") as terminal:
        terminal.until("a prompt", lambda now: "#" in now.text)
        terminal.type("X=kept\r\x10\x11")
        assert terminal.ended() == 0
        assert "detached; keys goes on" in terminal.text
    with at(daemon, "attach", "--detach-keys", "ctrl-a,d", "--replay", "4096", "keys") as terminal:
        terminal.until_text("X=kept")
        terminal.type("echo is-$X\r")
        terminal.until_text("is-kept")
        terminal.type("\x01d")
        assert terminal.ended() == 0
    daemon.actr("stop", "--time", "0", "keys", check=None)
    daemon.actr("rm", "-f", "keys")


def test_start_attached(daemon: Daemon, busybox: str):
    daemon.actr("create", "-it", "--name", "later", busybox, "sh", "-c", "read line; echo got-$line; exit 3")
    for word in ("one", "two"):
        with at(daemon, "start", "-a", "later") as terminal:
            terminal.type(f"{word}\r")
            terminal.until_text(f"got-{word}")
            assert terminal.ended() == 3
    daemon.actr("rm", "later")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM])
def test_our_terminal_is_given_back(daemon: Daemon, busybox: str, number: signal.Signals):
    """The mode before is the mode after, whichever way out is taken."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    env = {**os.environ, "ACTORD_ADDRESS": str(daemon.state / "actord.sock")}
    words = [CHECKOUT / "bin/actr", "run", "--rm", "-it", busybox, "sleep", "600"]
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=env) as run:
        raw = wait_until("raw mode", lambda: termios.tcgetattr(slave)[3] != before[3])
        assert raw
        wait_until("it runs", lambda: daemon.json("ps"))
        for _ in range(3 if number == signal.SIGTERM else 1):
            run.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(0.5)
        run.wait(30)
    assert termios.tcgetattr(slave) == before
    for one in daemon.json("ps"):
        daemon.actr("rm", "-f", one["id"])
    os.close(master)
    os.close(slave)


def test_a_terminal_is_not_asked_of_a_pipe(daemon: Daemon, busybox: str):
    done = daemon.actr("run", "--rm", "-it", busybox, "true", check=2)
    assert "standard input is no terminal" in done.stderr
