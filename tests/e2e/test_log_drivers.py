"""Log drivers: files of JSON, the journal, somebody's program; whoever may die is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
from daemon import Daemon, running, wait_until
from systemd_journal import journald, listening, read

pytestmark = pytest.mark.root

LINES = 3000
PRINT = f"n=0; while [ $n -lt {LINES} ]; do n=$((n+1)); echo line $n; [ $((n % 30)) = 0 ] && sleep 0.01; done"
GO_ON = "while [ ! -e /go ]; do echo more; sleep 0.05; done"
SCRIPT, LONGER = (f"{words}; echo problem >&2; printf open" for words in (PRINT, f"{PRINT}; {GO_ON}"))
WHOLE = "".join(f"line {number}\n" for number in range(1, LINES + 1)) + "open"

AGAIN = "actord: the logger was started again"

LOGGER = """#!/bin/sh
cat <&3 5>&- >> "$2" &
cat <&4 5>&- >> "$3" &
echo "$CONTAINER_NAMESPACE $CONTAINER_ID $1 $$" >> "$4"
exec 5>&-
wait
"""


def start(daemon: Daemon, busybox: str, *flags: str, script: str = SCRIPT) -> str:
    return daemon.actr("run", "-d", *flags, busybox, "sh", "-c", script).stdout.strip()


def kept(daemon: Daemon, name: str) -> Path:
    return daemon.root / "logs/default" / name


def kill_actor_after(daemon: Daemon, name: str, bytes_kept: int) -> None:
    """SIGKILL of the container's actor, once so much has been written."""
    wait_until("enough is written", lambda: (kept(daemon, name) / "stdout").stat().st_size > bytes_kept)
    daemon.kill_actor(f"container/default/{name}")


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_json_files_have_each_line_once_though_the_actor_is_killed(
    daemon: Daemon, busybox: str, runtime: str
):
    name = start(daemon, busybox, "--log-driver", "json-file", "--runtime", runtime)
    for count in (2000, 8000, 20000):
        kill_actor_after(daemon, name, count)
    daemon.actr("wait", name)
    path = kept(daemon, name) / "json.log"
    wait_until("all is there", lambda: '"open"' in path.read_text())
    items = [json.loads(line) for line in path.read_text().splitlines()]
    assert "".join(item["log"] for item in items if item["stream"] == "stdout") == WHOLE
    assert [item["log"] for item in items if item["stream"] == "stderr"] == ["problem\n"]
    assert all(item["time"].endswith("Z") and len(item["time"]) == 30 for item in items)
    assert daemon.actr("logs", name).stdout == WHOLE
    daemon.actr("rm", name)


def test_a_container_that_starts_again_goes_on_in_its_file(daemon: Daemon, busybox: str):
    name = daemon.actr("run", "-d", "--log-driver", "json", busybox, "printf", "x").stdout.strip()
    for runs in (2, 3):
        daemon.actr("wait", name)
        daemon.actr("start", name)
        daemon.actr("wait", name)
        assert daemon.actr("logs", name).stdout == "x" * runs
    path = kept(daemon, name) / "json.log"
    wait_until("all is there", lambda: path.read_text().count('"x"') == 3)
    daemon.actr("rm", name)


def test_json_files_are_rotated(daemon: Daemon, busybox: str):
    limits = ("--log-opt", "max-size=64k", "--log-opt", "max-file=3")
    name = daemon.actr("run", "-d", "--log-driver", "json", *limits, busybox, "seq", "100000").stdout.strip()
    daemon.actr("wait", name)
    newest = kept(daemon, name) / "json.log"
    wait_until("the last line is there", lambda: '"100000\\n"' in newest.read_text())
    files = sorted(kept(daemon, name).glob("json.log*"), reverse=True)
    assert [file.name for file in files] == ["json.log.2", "json.log.1", "json.log"]
    numbers = [int(json.loads(line)["log"]) for file in files for line in file.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 100001))
    daemon.actr("rm", name)


def test_the_journal_misses_nothing_though_it_goes_away_and_the_actor_is_killed(tmp: Path, busybox: str):
    address = tmp / "journal"
    settings = f'[logging]\njournal = "{address}"\n'
    with journald(tmp) as first, running(tmp, settings=settings) as daemon:
        daemon.actr("pull", busybox)
        refused = daemon.actr("run", "--log-driver", "journald", busybox, "true", check=125)
        assert f"there is no journal at {address}" in refused.stderr
        address.symlink_to(listening(first))
        name = start(daemon, busybox, "--log-driver", "journald", "--name", "journalled")
        kill_actor_after(daemon, name, 4000)
        address.unlink()  # nobody listens for a while
        kill_actor_after(daemon, name, 12000)
        wait_until("it is missed", lambda: b"log driver: journal" in daemon.log.read_bytes())
        address.symlink_to(listening(first))
        daemon.actr("wait", name)
        assert f"journalctl CONTAINER_ID_FULL={name}" in daemon.actr("logs", name, check=2).stderr

        def entries() -> list[dict[str, str]]:
            return read(first, f"CONTAINER_ID_FULL={name}")

        wait_until("all is there", lambda: any(one["MESSAGE"] == "open" for one in entries()))
        found = entries()
        once = {(one["ACTORD_STREAM"], int(one["ACTORD_OFFSET"])): one["MESSAGE"] for one in found}
        lines = [text for (stream, _), text in sorted(once.items()) if stream == "stdout"]
        assert lines == WHOLE.split("\n")
        assert [one["PRIORITY"] for one in found if one["MESSAGE"] == "problem"] == ["3"]
        assert {one["CONTAINER_NAME"] for one in found} == {"journalled"}
        daemon.actr("rm", name)


def logger(directory: Path) -> tuple[str, dict[str, Path]]:
    """The address of a logger that writes to files, and those."""
    program = directory / "logger"
    program.write_text(LOGGER)
    program.chmod(0o755)
    files = {name: directory / name for name in ("out", "err", "starts")}
    query = "&".join(["word=" + str(files["out"]), str(files["err"]), str(files["starts"])])
    return f"binary://{program}?{query}", files


def has_lines(path: Path, count: int) -> bool:
    return len(path.read_text().splitlines()) == count


def is_larger(path: Path, size: int) -> bool:
    return path.stat().st_size > size


def test_a_program_gets_each_byte_once_though_the_actor_is_killed(daemon: Daemon, busybox: str, tmp: Path):
    address, files = logger(tmp)
    name = start(daemon, busybox, "--log-driver", address)
    for count in (2000, 8000, 20000):
        kill_actor_after(daemon, name, count)
    daemon.actr("wait", name)
    wait_until("all is there", lambda: files["out"].read_text().endswith("open"))
    assert files["out"].read_text() == WHOLE
    wait_until("the rest too", lambda: files["err"].read_text() == "problem\n")
    assert files["starts"].read_text().split()[:3] == ["default", name, "word"]
    assert len(files["starts"].read_text().splitlines()) == 1, "it has lived on"
    assert "cannot be read back" in daemon.actr("logs", name, check=2).stderr
    daemon.actr("rm", name)


def test_a_program_that_is_killed_is_started_again_and_told(daemon: Daemon, busybox: str, tmp: Path):
    address, files = logger(tmp)
    name = start(daemon, busybox, "--log-driver", address, script=LONGER)  # than it takes to kill three
    for time in (1, 2, 3):
        wait_until("it works", partial(has_lines, files["starts"], time))
        before = files["out"].stat().st_size if files["out"].exists() else 0
        wait_until("it writes", partial(is_larger, files["out"], before))
        wait_until("it has said so", lambda time=time: files["err"].read_text().count(AGAIN) == time - 1)
        os.killpg(int(files["starts"].read_text().split()[-1]), signal.SIGKILL)
    daemon.actr("exec", name, "touch", "/go")
    daemon.actr("wait", name)
    wait_until("all is there", lambda: files["out"].read_text().endswith("open"))
    wait_until("all is said", lambda: "problem" in files["err"].read_text())
    assert files["err"].read_text().count(AGAIN) == 3
    lines = files["out"].read_text()[: -len("open")].splitlines()
    lost = LINES - len(set(lines) & set(WHOLE.splitlines()))
    assert lost <= 3 * 2 * (1 << 17) // len("line 1000\n"), "no more than what it may have had in hand"
    daemon.actr("rm", name)


def test_what_cannot_log_is_refused_by_name(daemon: Daemon, busybox: str, tmp: Path):
    (tmp / "text").write_text("no program")
    before = daemon.actr("ps", "-aq").stdout
    for driver, said in (
        ("binary://relative/path", "is not of the form binary:///path"),
        (f"binary://{tmp}/none", "is not a program that can be run"),
        (f"binary://{tmp}/text", "is not a program that can be run"),
    ):
        done = daemon.actr("run", "--rm", "--log-driver", driver, busybox, "true", check=None)
        assert done.returncode != 0
        assert said in done.stderr
    wait_until("nothing is left", lambda: daemon.actr("ps", "-aq").stdout == before)
