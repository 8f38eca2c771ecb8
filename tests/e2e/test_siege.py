"""Everything is killed while containers run, and while one pours out its output: nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import wait_until

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
MEGABYTES, KILLS = (int(os.environ.get(f"ACTORD_TEST_POUR_{what}", "0")) for what in ("MB", "KILLS"))
POUR, DEATHS = MEGABYTES or 30, KILLS or 8


def test_a_short_siege_touches_no_container(tmp: Path):
    words = ("-m", "chaos", "--report", str(tmp), "--siege", "3", "--containers", "6")
    done = subprocess.run(
        [ROOT / ".venv/bin/python", "-P", *words],
        cwd=ROOT, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found = json.loads((tmp / "chaos-report.json").read_text())
    assert found["broken"] == 0
    assert found["siege"]["rounds"] == 3


def _numbers(size: int) -> str:
    """A shell command that prints exactly so many bytes of ever new lines."""
    return f"seq 1 100000000 2>/dev/null | head -c {size}; exit 9"


def _expected(size: int) -> str:
    digest, left, number = hashlib.sha256(), size, 1
    while left > 0:
        block = b"".join(b"%d\n" % one for one in range(number, number + 50_000))[:left]
        digest.update(block)
        left, number = left - len(block), number + 50_000
    return digest.hexdigest()


def test_output_is_whole_however_often_its_actor_dies(own_daemon: Daemon, busybox: str):
    """The actor is killed each time when it has copied some more, so while there is more to copy."""
    size = POUR << 20
    daemon = own_daemon
    with daemon.popen("run", "--name", "pours", busybox, "sh", "-c", _numbers(size)) as run:
        wait_until("it runs", lambda: daemon.json("ps"))
        (one,) = daemon.json("ps")
        kept = daemon.root / "logs" / "default" / one["id"] / "stdout"
        killed: set[int] = set()
        for number in range(1, DEATHS + 1):
            enough = size * number // (DEATHS + 1)
            wait_until("more is copied", lambda enough=enough: kept.stat().st_size >= enough, 60)
            killed.add(daemon.kill_actor(one["actor"]))
        out, err = run.communicate(timeout=200)
    assert run.returncode == 9, err
    assert len(killed) == DEATHS
    assert len(out) == size
    assert hashlib.sha256(out).hexdigest() == _expected(size)
    with kept.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == _expected(size)
    daemon.actr("rm", "pours")
