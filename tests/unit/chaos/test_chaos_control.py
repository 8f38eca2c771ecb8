"""Bounds grow with the machine's own slowness, and disks can be filled and freed."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest

from chaos import control
from chaos.control import Control, slowness
from chaos.disks import Disk
from chaos.faults import _places
from chaos.findings import Findings, Window

NORMAL = [(at / 10, 0.004) for at in range(control.BASELINE)]


def test_a_bound_is_widened_by_what_was_measured_in_its_time():
    measured = [*NORMAL, (10.0, 0.008), (10.1, 0.016), (20.0, 0.004), (30.0, 4.0)]
    assert slowness(measured, 9.9, 10.2) == pytest.approx(3.0)
    assert slowness(measured, 19.0, 21.0) == 1.0
    assert slowness(measured, 12.0, 13.0) == 1.0  # nothing was measured: no excuse
    assert slowness(measured, 28.0, 29.0) == control.WORST  # it was under way
    assert slowness([], 0.0, 1.0) == 1.0


def test_the_control_process_measures():
    with Control(Findings()) as running:
        found = running.summary()
    assert 0 < found["normal_ms"] < 30_000
    assert found["median"] >= 1.0
    assert running.slowness(0, 1000) <= control.WORST


def test_a_dropped_answer_excuses_that_it_is_late_and_nothing_else():
    findings = Findings()
    findings.unheard.append(Window(1.0, 2.0))
    assert findings.excuses("deadline_exceeded", 1.5, 3.0)
    assert not findings.excuses("deadline_exceeded", 2.5, 3.0)
    assert not findings.excuses("internal", 1.5, 3.0)
    findings.starved.append(Window(1.0, 2.0))
    assert findings.excuses("internal", 1.5, 3.0)


PASSED = [
    {"name": "container.save.written", "passed": 9},
    {"name": "container.failpoints.list.reply", "passed": 99},
    {"name": "container.tasks.wait.reply", "passed": 3},
    {"name": "container.tasks.output.reply", "passed": 4},
    {"name": "supervisor.introspection.actors.reply", "passed": 5},
]


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("drop", ["container.tasks.wait.reply"]),
        ("double", ["container.tasks.output.reply", "container.tasks.wait.reply"]),
        ("clock", ["container.save.written"]),
        ("failpoint", sorted(one["name"] for one in PASSED if "failpoints" not in str(one["name"]))),
    ],
)
def test_where_a_failpoint_may_be_set(kind: str, places: list[str]):
    assert _places(kind, PASSED) == places


@pytest.mark.root
def test_a_disk_is_filled_to_the_last_block_and_freed(tmp_path: Path):
    disk = Disk(tmp_path / "image", tmp_path / "place")
    disk.mount()
    try:
        disk.fill()
        with (tmp_path / "place/file").open("wb", buffering=0) as file:
            with pytest.raises(OSError, match="space") as full:
                file.write(b"x" * 4096)
            assert full.value.errno == errno.ENOSPC
            disk.free()
            file.write(b"x" * 4096)
    finally:
        disk.unmount()
    assert str(tmp_path) not in subprocess.check_output(["losetup", "-a"], text=True)
