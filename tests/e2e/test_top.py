"""`actr top` as a person at a terminal sees it, and `actr tree`, of a real daemon."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from daemon import wait_until
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon import Daemon

pytestmark = pytest.mark.root
ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture
def web(daemon: Daemon, busybox: str) -> Iterator[str]:
    daemon.actr("run", "-d", "--name", "web", busybox, "sleep", "900")
    yield "web"
    daemon.actr("rm", "-f", "web")


@pytest.fixture
def terminal(daemon: Daemon, web: str) -> Iterator[Terminal]:
    assert web
    found = Terminal(daemon, "top", "--interval", "0.2", rows=40, columns=110)
    try:
        yield found
    finally:
        found.close()


def test_the_tree_its_crashes_and_containers_are_seen_live(daemon: Daemon, terminal: Terminal):
    terminal.until_text("q quit")
    terminal.until("the container", lambda now: re.search(r"─ web +running ", now.text) is not None)
    daemon.kill_actor("volumes")
    terminal.until("the crash", lambda now: "volumes died: killed by signal 9" in now.text)
    terminal.until("the restart", lambda now: re.search(r"volumes +running .* 1 +\d+s", now.text) is not None)
    daemon.actr("stop", "-t", "0", "web")
    terminal.until("its end", lambda now: "container default/web exited (137)" in now.text)
    terminal.until("its state", lambda now: re.search(r"─ web +exited \(137\)", now.text) is not None)
    daemon.actr("start", "web")
    terminal.until("it is back", lambda now: re.search(r"─ web +running ", now.text) is not None)
    terminal.type("q")
    assert terminal.ended() == 0


def test_keys_a_new_size_and_an_interruption(terminal: Terminal):
    terminal.until_text("sort: name")
    terminal.type("s")
    terminal.until_text("sort: cpu")
    terminal.type("v")
    terminal.until("containers alone", lambda now: "supervisor" not in now.text)
    terminal.type("v")
    terminal.until("actors alone", lambda now: "supervisor" in now.text and " web " not in now.text)
    terminal.type("p")
    terminal.until_text("p go on")
    terminal.resize(12, 60)
    terminal.until("it fits", lambda now: now.lines[-1].startswith("q quit") and len(now.lines) == 12)
    terminal.child.sendintr()
    assert terminal.ended() == 130


def test_a_router_that_dies_is_said_and_comes_back(daemon: Daemon, terminal: Terminal):
    terminal.until_text("q quit")
    old = daemon.kill_actor("router")
    terminal.until("the crash", lambda now: re.search(r"router +running .* 1 +\d+s", now.text) is not None)
    terminal.type("q")
    assert terminal.ended() == 0
    assert daemon.pid("router") != old


def test_into_a_pipe_it_is_printed_once(daemon: Daemon, web: str):
    shown = daemon.actr("top").stdout
    assert ENTERED not in shown
    assert shown.startswith("actord on ")
    assert re.search(rf"─ {web} +running +\S+busybox:latest +\d", shown)
    assert "q quit" not in shown
    whole = daemon.json("top")
    assert whole["node"] == os.uname().nodename
    assert [one["name"] for one in whole["containers"]] == [web]
    assert daemon.actr("top", "--format", "{{.Node}}").stdout == f"{whole['node']}\n"


def test_the_terminal_is_given_back(terminal: Terminal):
    terminal.until_text("q quit")
    terminal.type("q")
    end = b""
    while LEFT.encode() not in end:
        end += terminal.child.read_nonblocking(65536, 20)
    assert end.endswith(LEFT.encode())


def test_a_tree_goes_down_to_the_processes(daemon: Daemon, web: str):
    def shown() -> list[str]:
        """Once the first process is the program, and not the runtime's init any more."""
        lines = daemon.actr("tree", "-p").stdout.splitlines()
        at = next(number for number, line in enumerate(lines) if f"─ {web} " in line)
        return lines if re.search(r"└─ 1 sleep 900 +S ", lines[at + 1]) else []

    assert wait_until("its process is shown", shown)[1].startswith("zygote ")
