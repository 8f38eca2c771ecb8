"""Fifty containers started at once, and the phases of one start."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.pairs import Comparison, timed
from transport.client import Client
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.peers import Actord, Containerd

CROWD = 50
ROUNDS = 3  # and one that is not counted: the first of a daemon's life is like no other
ROOT = Path(__file__).resolve().parents[1]
CLIENT = "from cli.session import Session; Session({0!r}, 'default').ask('metadata', 'namespaces.list', {{}})"


def at_once(peer: Containerd, actord: Actord, image: str) -> Comparison:
    """Seconds from the start of all clients to the end of each, whose container then runs; in turn."""
    program = ("sleep", "600")

    def theirs(*flags: str) -> list[float]:
        names = [f"crowd{number}" for number in range(CROWD)]
        took = clients([peer.client("run", "-d", *flags, image, name, *program) for name in names])
        _end_theirs(peer, names)
        return took

    def ours(*flags: str) -> list[float]:
        names = [f"crowd{number}" for number in range(CROWD)]
        took = clients(
            [actord.client("run", "-d", *flags, "--name", name, image, *program) for name in names]
        )
        _end_ours(actord, names)
        return took

    cases: dict[str, Callable[[], list[float]]] = {
        "ctr run -d": theirs,
        "actr run -d": ours,
        "ctr run -d, with crun": partial(theirs, "--runc-binary", "crun"),
        "actr run -d, with crun": partial(ours, "--runtime", "crun"),
    }
    samples: dict[str, list[float]] = {case: [] for case in cases}
    for number in range(ROUNDS + 1):
        for case, start in cases.items():
            took = start()
            samples[case] += took if number else ()
    return Comparison(f"{CROWD} started at once", "s", samples)


def _end_ours(actord: Actord, names: list[str]) -> None:
    running = actord.run("ps", "-q").split()
    assert len(running) == CROWD, len(running)
    actord.run("rm", "-f", *names)


def _end_theirs(peer: Containerd, names: list[str]) -> None:
    tasks = peer.run("tasks", "ls", "-q").split()
    assert len(tasks) == CROWD, len(tasks)
    for name in names:
        peer.run("tasks", "kill", "-s", "KILL", name)
    for name in names:
        until_gone(peer, name)


def clients(commands: list[list[str]]) -> list[float]:
    """Start all of these commands at once; the seconds after which each ends, which it does well."""
    began = time.monotonic()
    left = {}
    ends = select.poll()
    for command in commands:
        one = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        descriptor = os.pidfd_open(one.pid)
        left[descriptor] = one
        ends.register(descriptor, select.POLLIN)
    took = []
    while left:
        for descriptor, _ in ends.poll():
            took.append(time.monotonic() - began)
            ends.unregister(descriptor)
            os.close(descriptor)
            one = left.pop(descriptor)
            assert one.wait() == 0, one.args
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
