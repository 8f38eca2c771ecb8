"""A short chaos run, and proof that its checks can fail."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chaos.sabotage import WAYS

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]


def _chaos(report: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    command = [str(ROOT / ".venv/bin/python"), "-P", "-m", "chaos", "--report", str(report), *words]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert (report / "chaos-report.json").exists(), done.stdout + done.stderr
    return done, json.loads((report / "chaos-report.json").read_text())


def test_a_short_run_breaks_nothing(tmp: Path):
    """Faults of all kinds, the whole daemon's too; about half a minute of them on a machine of its own."""
    done, found = _chaos(tmp, "--seed", "11", "--faults", "64", "--seconds", "150")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert found["broken"] == 0
    assert found["faults_total"] >= 60
    assert {path.name for path in tmp.iterdir()} >= {"chaos-report.md", "timeline.svg", "schedule.json"}


def test_the_network_actor_is_killed_at_some_points(tmp: Path):
    """Three of all, drawn: nothing is taken twice or left over, and no packet of a container is lost."""
    done, found = _chaos(tmp, "--enumerate", "disconnect", "--points", "3", "--seed", "5")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert sum(found["points"]["points"].values()) == 3
    assert (found["points"]["corrupt"], found["points"]["leaks"], found["broken"]) == (0, 0, 0)
    assert found["points"]["killed"]


def test_whoever_takes_part_in_a_sleep_is_killed_at_some_points(tmp: Path):
    """Two of a hundred, drawn: no output and no exit code of the container is lost."""
    done, found = _chaos(tmp, "--enumerate", "sleep", "--points", "2", "--seed", "5")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert (found["points"]["corrupt"], found["points"]["leaks"], found["broken"]) == (0, 0, 0)
    assert found["points"]["killed"]


BROKEN = {
    "exit-code": "exit codes are right",
    "second-process": "one live incarnation per name",
    "output": "output is complete and in order",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_invariant_is_caught_and_can_be_replayed(tmp: Path, way: str):
    done, found = _chaos(tmp, "--seed", "12", "--faults", "3", "--kinds", "kill", "--break", way)
    assert done.returncode == 1
    assert {one["invariant"] for one in found["violations"]} == {BROKEN[way]}, found["violations"]
    assert f"seed 12; replay: bin/chaos --replay {tmp}/schedule.json" in done.stdout
    assert json.loads((tmp / "schedule.json").read_text())["seed"] == 12
