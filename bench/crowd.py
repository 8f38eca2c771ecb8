"""A hundred containers started at once, and the phases of one start."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.pairs import Comparison, timed
from transport.client import Client
from transport.errors import RemoteError

if TYPE_CHECKING:
    from bench.peers import Actord, Containerd

CROWD = 100
ROOT = Path(__file__).resolve().parents[1]
CLIENT = "from cli.session import Session; Session({0!r}, 'default').ask('metadata', 'namespaces.list', {{}})"


def at_once(peer: Containerd, actord: Actord, image: str) -> Comparison:
    """Seconds from the start of all clients to the end of each, whose container then runs."""
    names = [f"crowd{number}" for number in range(CROWD)]
    samples = {
        "ctr run -d": clients([peer.client("run", "-d", image, name, "sleep", "600") for name in names]),
        "actr run -d": clients(
            [actord.client("run", "-d", "--name", name, image, "sleep", "600") for name in names]
        ),
    }
    running = actord.run("ps", "-q").split()
    tasks = peer.run("tasks", "ls", "-q").split()
    assert len(running) == len(tasks) == CROWD, (len(running), len(tasks))
    actord.run("rm", "-f", *names)
    for name in names:
        peer.run("tasks", "kill", "-s", "KILL", name)
    for name in names:
        until_gone(peer, name)
    return Comparison(f"{CROWD} started at once", "s", samples)


def clients(commands: list[list[str]]) -> list[float]:
    """Start all of these commands at once; the seconds after which each ends, which it does well."""
    began = time.monotonic()
    started = [subprocess.Popen(one, stdout=subprocess.DEVNULL) for one in commands]
    took = []
    left = list(started)
    while left:
        for one in [one for one in left if one.poll() is not None]:
            assert one.returncode == 0, one.args
            took.append(time.monotonic() - began)
            left.remove(one)
        time.sleep(0.002)
    return took


def until_gone(peer: Containerd, name: str) -> None:
    """Remove a container of containerd that has been killed."""
    for _ in range(100):
        try:
            peer.run("containers", "rm", name)
        except RuntimeError:
            time.sleep(0.05)  # it has not stopped yet
        else:
            return


def phases(actord: Actord, image: str, rounds: int) -> Comparison:
    """The parts of `run --rm true`, one after the other; the first is all of it, by the command line."""
    samples: dict[str, list[float]] = {}
    address = actord.address
    client, numbers = Client(address), count()
    try:
        for number in range(rounds + 1):
            found = {"actr run --rm (all of it)": timed(actord.client("run", "--rm", image, "true"))}
            found["  client: python, connect, ask"] = timed(
                [
                    sys.executable,
                    "-c",
                    f"import sys; sys.path.insert(0, {str(ROOT)!r}); {CLIENT.format(address)}",
                ]
            )
            found |= _one(client, image, f"phase{next(numbers)}")
            for phase, seconds in found.items() if number else ():
                samples.setdefault(phase, []).append(seconds)
    finally:
        client.close()
    return Comparison("phases of one start", "ms", samples)


def _one(client: Client, image: str, name: str) -> dict[str, float]:
    """A life step by step. The bundle is asked for by itself first, then once more as part of the start."""

    def step(op: str, body: dict[str, Any], to: str) -> float:
        began = time.monotonic()
        try:
            answers.append(client.request(op, body, to=to, limit=30.0))
        except RemoteError as error:
            if op != "containers.remove" or "ended" not in str(error):  # its actor ends with the container
                raise
        return time.monotonic() - began

    answers: list[dict[str, Any]] = []
    body = {"namespace": "default", "image": image, "name": name, "options": {"args": ["true"]}}
    create = step("containers.create", body, "metadata")
    actor = answers[-1]["actor"]
    record = client.request("containers.get", {"namespace": "default", "id": name}, to="metadata")
    fields = ("namespace", "id", "image", "image_digest", "options", "name")
    make = step("bundles.make", {key: record[key] for key in fields}, "bundles")
    start = step("tasks.start", {}, actor)
    return {
        "  create: record, fork of the actor": create,
        "  prepare: snapshot, mount, config.json": make,
        "  start: runtime, less the preparation": max(0.0, start - make),
        "  exit: drain, clean up, record, tell": step("tasks.wait", {}, actor),
        "  remove: snapshot, record": step("containers.remove", {}, actor),
    }
