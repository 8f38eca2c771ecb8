"""bin/chaos: draw or read a schedule, carry it out, report, and end with 1 when something did not hold."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.linux.mounts import umount_below
from chaos import report, schedule
from chaos.clients import Clients
from chaos.control import Control
from chaos.enumeration import Enumeration
from chaos.faults import Nemesis
from chaos.findings import Findings
from chaos.runner import Run
from chaos.sabotage import WAYS
from chaos.scene import Scene
from chaos.siege import Siege
from chaos.syscalls import KILL
from chaos.verbs import OPERATIONS
from tests.e2e.interrupted import Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

RANGE = 32 << 20  # bytes in one request for a large blob, as by default
SLEEP_AFTER = 0.3  # seconds; so that actors of containers sleep and wake all the time


EPILOG = """\
In brackets: the default. Two cores carry out about 150 faults a minute.

Exit code: 0 when everything held, else 1; then it says what did not, and how
to do the same again.

Examples:
  sudo bin/chaos --seed 7 --faults 500 --report /tmp/report
  sudo bin/chaos --replay /tmp/report/schedule.json
  sudo bin/chaos --enumerate create
  sudo bin/chaos --siege 3 --containers 10
"""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bin/chaos",
        description="Hurt a daemon of its own under load, and check what must hold (docs/chaos.md).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seed", type=int, default=1, metavar="N", help="what the schedule is drawn by (1)")
    add("--faults", type=int, default=200, metavar="N", help="how many faults are drawn (200)")
    add("--kinds", default="", metavar="KIND,...", help=f"draw only these: {', '.join(schedule.KINDS)} (all)")
    add(
        "--seconds",
        type=float,
        default=3600.0,
        metavar="S",
        help="begin no step after so many seconds (3600)",
    )
    add("--runtime", choices=("runc", "crun"), default="runc", help="who runs the containers (runc)")
    add("--report", type=Path, metavar="DIR", help="where schedule, log and findings go (a new directory)")
    add("--break", dest="sabotaged", choices=WAYS, default="", help="spoil something, to see a check fail")
    instead = parser.add_argument_group("instead of a schedule that is drawn")
    add = instead.add_argument
    add("--replay", type=Path, metavar="FILE", help="carry out this schedule.json of a report")
    add(
        "--enumerate",
        dest="verb",
        choices=tuple(OPERATIONS),
        metavar="OPERATION",
        help=f"strike at each crash point of one operation: {', '.join(OPERATIONS)}",
    )
    add("--points", type=int, default=0, metavar="N", help="at N of these points, by the seed (at all)")
    add("--inject", choices=(KILL, "ENOSPC", "EIO"), default=KILL, help=f"what happens there ({KILL})")
    add("--siege", type=int, default=0, metavar="N", help="kill the zygote and all actors, N times in a row")
    add("--containers", type=int, default=50, metavar="N", help="how many run in a siege (50)")
    add("--pulls", type=int, metavar="N", help="N pulls that are interrupted")
    add("--megabytes", type=int, default=300, metavar="MB", help="size of the image that is pulled (300)")
    add("--clients", type=int, metavar="N", help="N clients that vanish")
    return parser.parse_args()


def main() -> int:
    """The exit code: 0 when everything held, 1 when not."""
    given = options()
    if given.pulls:
        return interrupted_pulls(given)
    if given.clients:
        return vanishing_clients(given)
    directory = given.report or Path(tempfile.mkdtemp(prefix="actord-chaos-report-"))
    directory.mkdir(parents=True, exist_ok=True)
    seed, steps = schedule.read(given.replay) if given.replay else (given.seed, drawn(given))
    path = directory / "schedule.json"
    schedule.write(path, seed, steps)
    place = Path(tempfile.mkdtemp(prefix="chaos-"))
    findings = Findings()
    threading.excepthook = findings.uncaught
    how: dict[str, object] = {"seed": seed, "replay": replaying(given, seed, path)}
    try:
        with Scene(place, findings, seed, runtime=given.runtime, **needs(given, steps)) as scene:
            findings.restart()
            if given.verb:
                how["points"] = enumerated(scene, given)
            elif given.siege:
                how["siege"] = besieged(scene, given.siege, given.containers)
            else:
                how["slowness"] = carried_out(scene, seed, steps, given)
    finally:
        shutil.copyfile(place / "log", directory / "actord.log")
        umount_below(str(place))  # a leak has been reported by now; it need not stay
        shutil.rmtree(place, ignore_errors=True)
        report.write(directory, findings, how)
    return conclude(directory, findings, how)


def replaying(given: argparse.Namespace, seed: int, path: Path) -> str:
    """The command that does the same once more."""
    points = f" --points {given.points} --seed {seed}" if given.points else ""
    again = f"--enumerate {given.verb} --inject {given.inject}{points}" if given.verb else f"--replay {path}"
    if given.siege:
        again = f"--siege {given.siege} --containers {given.containers}"
    again += f" --runtime {given.runtime}" if given.runtime != "runc" else ""
    return f"bin/chaos {again}"


def needs(given: argparse.Namespace, steps: Sequence[schedule.Step]) -> dict[str, Any]:
    """Of the scene: a disk of its own to be filled; actors that sleep, where no process is looked up."""
    full = any(fault.kind == "full" for step in steps for fault in step.faults)
    asleep = given.verb == "sleep" or not (given.verb or given.siege)
    return {
        "own_disk": full and not (given.siege or given.verb),
        "sleep_after": SLEEP_AFTER if asleep else None,
    }


def carried_out(
    scene: Scene, seed: int, steps: list[schedule.Step], given: argparse.Namespace
) -> dict[str, float]:
    """All steps of a schedule; how slow the machine was meanwhile."""
    with Control(scene.findings) as control:
        Run(scene, seed, control, given.sabotaged).perform(steps, given.seconds)
        return control.summary()


def interrupted_pulls(given: argparse.Namespace) -> int:
    """Pull again and again, each time with the connection cut or somebody killed at a random byte."""
    place = Path(tempfile.mkdtemp(prefix="chaos-pulls-"))
    try:
        runner = Interrupted(place, given.megabytes << 20, RANGE, given.seed)
        figures = runner.perform(given.pulls, time.monotonic() + given.seconds, partial(print, flush=True))
    finally:
        umount_below(str(place))
        shutil.rmtree(place, ignore_errors=True)
    print(f"in all:\n{figures.lines()}")
    for failure in figures.failed:
        print(failure)
    held = not (figures.failed or figures.asked_again or figures.forgotten or figures.bad)
    return 0 if held and figures.finished else 1


def vanishing_clients(given: argparse.Namespace) -> int:
    """Execs, attachments and resizes by clients that go away; prints what the actors had before and after."""
    place = Path(tempfile.mkdtemp(prefix="chaos-clients-"))
    directory = given.report or Path(tempfile.mkdtemp(prefix="actord-chaos-report-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with Scene(place, Findings(), given.seed) as scene:
            scene.daemon.actr("pull", scene.busybox)
            figures = Clients(scene.daemon, scene.busybox, given.seed).perform(given.clients)
    finally:
        shutil.copyfile(place / "log", directory / "actord.log")
        umount_below(str(place))
        shutil.rmtree(place, ignore_errors=True)
    print("\n".join(figures.lines()))
    return 1 if figures.grown else 0


def enumerated(scene: Scene, given: argparse.Namespace) -> dict[str, object]:
    """Every crash point of one operation; prints and returns the figures."""
    found = Enumeration(scene, Nemesis(scene), given.verb, given.inject).perform(
        given.seconds, given.points, given.seed
    )
    points = ", ".join(f"{number} {kind}" for kind, number in found.points.items())
    print(f"{given.verb}: {found.points.total()} crash points ({points}), {given.inject} at each:", end=" ")
    print(f"{found.killed} of them killed somebody, {found.refused} operations were refused and repeated;")
    print(f"corrupt states: {found.corrupt}, leaks: {found.leaks}")
    return {**asdict(found), "points": dict(found.points)}


def besieged(scene: Scene, rounds: int, containers: int) -> dict[str, float]:
    """A siege; prints and returns the figures."""
    with Control(scene.findings) as control:
        found = Siege(scene, control).perform(rounds, containers)
    print(f"siege: {containers} containers, everything killed {rounds} times: ready again after", end=" ")
    print(f"{found['median']:.2f} s (median), {found['max']:.2f} s at most; {found['late']} later than 5 s,")
    print(f"{found['late_for_the_machine']} for a machine {found['slowness']:.1f} times slower than normal")
    return found


def drawn(given: argparse.Namespace) -> list[schedule.Step]:
    """A new schedule."""
    wanted = [kind for kind in given.kinds.split(",") if kind]
    kinds = {kind: schedule.KINDS.get(kind) or 10 for kind in wanted} or schedule.KINDS
    return schedule.draw(given.seed, given.faults, kinds)


def conclude(directory: Path, findings: Findings, how: dict[str, object]) -> int:
    """Print what there is to say."""
    found = report.summary(findings, how)
    print(report.text(found))
    total, broken = findings.checked.total(), findings.broken.total()
    print(f"\n{found['faults_total']} faults in {found['seconds']} s; checked {total} times, broken {broken}")
    print(f"reports: {directory}")
    if not broken:
        return 0
    first = findings.violations[0]
    print(f"first: step {first.step}, {first.at:.1f} s: {first.invariant}: {first.text}")
    print(f"seed {how['seed']}; replay: {how['replay']}")
    return 1


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("chaos: needs root, since it starts containers: sudo bin/chaos")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # with everything put away
    sys.exit(main())
