"""bin/quickstart holds what it claims and leaves nothing; the protocol's example program works."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import CHECKOUT, wait_until

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

CLAIMS = (
    "the container said hello",
    "the exit code of actr run is that of the container",
    "the container never noticed: its process is the same",
    "the exit code is known and right",
    "all 400 lines are in actr logs, each once and in order",
    "actr logs -f, which had run all the time, has shown each of them once too",
    "the daemon stopped in order",
    "no process, container or mount is left",
)


def _start(log: Path, *words: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            [CHECKOUT / "bin/quickstart", *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip


def _left(place: str) -> tuple[bool, bool, list[str]]:
    """Whether the directory is there, whether something is mounted in it, who names it in a command line."""
    named = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{place}/".encode() in entry.read_bytes():
                named.append(entry.parent.name)
        except OSError:  # it has just ended
            continue
    return Path(place).exists(), f"{place}/" in Path("/proc/self/mountinfo").read_text(), named


def _place(text: str) -> str:
    found = re.search(r"happens in (\S+)", text)
    assert found, text
    return found[1]


NOTHING = (False, False, [])


def test_every_claim_holds_and_nothing_is_left(tmp: Path):
    log = tmp / "log"
    code = _start(log).wait(240)
    text = log.read_text()
    assert code == 0, text
    assert [line for line in CLAIMS if f"   ok  {line}\n" not in text] == []
    assert re.search(r"^ +hello$", text, re.MULTILINE)
    restarted = re.search(r"pid (\d+) is now (\d+)", text)
    assert restarted
    assert restarted[1] != restarted[2]
    assert re.search(r"^Everything held\. It took \d+\.\d s\.$", text, re.MULTILINE)
    assert "\x1b" not in text  # colours are for terminals
    assert _left(_place(text)) == NOTHING


def test_what_a_killed_run_leaves_the_next_one_removes(tmp: Path):
    log = tmp / "log"
    run = _start(log, "--stay")
    wait_until("it stays", lambda: run.poll() is not None or "Ctrl-C here" in log.read_text(), 120)
    place = _place(log.read_text())
    (name,) = re.findall(r"IMAGE=(\S+)", log.read_text())
    address = {**os.environ, "ACTORD_ADDRESS": f"{place}/state/actord.sock"}
    actr = [CHECKOUT / "bin/actr"]
    ran = subprocess.run(
        [*actr, "run", "-d", name, "sleep", "1000"], env=address, capture_output=True, text=True, check=True
    )
    container = ran.stdout.strip()
    run.kill()
    run.wait(10)
    assert _left(place) != NOTHING
    second = tmp / "second"
    again = _start(second, "--stay")
    wait_until("it stays", lambda: again.poll() is not None or "Ctrl-C here" in second.read_text(), 120)
    assert f"removed what a killed run had left in {place}" in second.read_text()
    assert _left(place) == NOTHING
    cgroups = Path("/proc").glob("[0-9]*/cgroup")
    assert not [path for path in cgroups if container in _text(path)]
    os.killpg(again.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
    assert again.wait(60) == 0
    assert "Everything held" in second.read_text()
    assert _left(_place(second.read_text())) == NOTHING


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_an_option_that_it_does_not_know(tmp: Path):
    assert _start(tmp / "log", "--fast").wait(20) == 2
    assert "--fast" in (tmp / "log").read_text()


def test_the_example_of_the_protocol_works(daemon: Daemon):
    (program,) = re.findall(
        r"^```python\n(.*?)^```$", (CHECKOUT / "docs/protocol.md").read_text(), re.MULTILINE | re.DOTALL
    )
    done = subprocess.run(
        [sys.executable, "-c", program, daemon.state / "connection.json"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"metadata running {daemon.pid('metadata')}" in done.stdout.splitlines()
