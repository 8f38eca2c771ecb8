"""A short version of `bin/hosts --matrix`: the fault that both see, and the one that only encryption sees."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import CHECKOUT, wait_until

from chaos import left, partitions

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lab(short_root: Path) -> Iterator[partitions.Lab]:
    with partitions.laboratory(short_root / "partitions") as found:
        yield found


@pytest.mark.parametrize(("name", "share"), [("cut, h1 to h2", 0.0), ("proxy: frames duplicate", 1.0)])
def test_a_round_of_the_matrix(lab: partitions.Lab, monkeypatch: pytest.MonkeyPatch, name: str, share: float):
    monkeypatch.setattr(partitions, "SHARE", share)
    monkeypatch.setattr(partitions, "HOLD", 2.0)
    said: list[str] = []
    [fault] = [one for one in partitions.FAULTS if one.name == name]
    before = lab.proxy.count()
    [line] = partitions.matrix(lab, [fault], 1, said.append)
    assert line.is_well, (partitions.table([line]), said)
    assert line.counts["done"] >= 10
    if fault.seen:
        assert len(line.down) == 2, "both have seen it"
        assert line.counts["refused"] > 0, "what cannot get there is refused, and does not wait"
    else:
        now = lab.proxy.count()
        assert now["frames duplicate"] > before.get("frames duplicate", 0)
        assert now["connections"] > before["connections"], "a frame that is said twice ends a connection"


def test_what_does_not_hold_is_said():
    line = partitions.Line("made up", [3.0, 1.0], [], [0.5])
    assert line.is_well
    assert "1.0" not in line.row()
    assert line.row()[2:5] == ("2.0 / 3.0", "-", "0.5 / 0.5")
    for key in ("twice", "lies", "lost", "doubled", "touched", "late"):
        line.counts.clear()
        line.counts[key] = 1
        assert not line.is_well, key


def test_a_shell_that_is_killed_leaves_what_the_next_one_clears():
    script = "actr run -d --pull never none 2>/dev/null; sleep 1000"
    with subprocess.Popen(
        [CHECKOUT / "bin/hosts", "1", "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        assert "you are at h1" in shell.stdout.readline()
        own = f"at{shell.pid}n1"
        [note] = left.NOTES.glob(f"{own}.json")
        directory = Path(re.findall(r'"directory": "([^"]+)"', note.read_text())[0])
        shell.kill()
    assert left.daemons(directory / "h1")
    inside = left.processes(f"{own}h1", directory / "h1")
    done = subprocess.run(
        [CHECKOUT / "bin/hosts", "0"], capture_output=True, text=True, timeout=100, check=True
    )
    assert own in done.stdout.splitlines()
    assert not directory.exists()
    assert not note.exists()
    assert not list(left.NAMESPACES.glob(f"{own}*"))
    wait_until("all have ended", lambda: not any(_runs(pid) for pid in inside))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
