"""One client, two daemons: containerd's own ctr, and calls of its API, on actord and on containerd."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import grpc

from bench import crowd, memory
from bench.pairs import Comparison, in_turn, timed
from transport.grpc import interface
from transport.grpc.interface import message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.peers import Actord, Containerd

CROWD: Final = 50
READY_SECONDS: Final = 30.0
RECORDS: Final = 1000
CALLS: Final = 50  # of one method, for each sample
AWAKE: Final = 30.0  # seconds that containers' actors stay awake, so that all can be measured first
SETTINGS: Final = f"[supervision]\nsleep_after = {AWAKE}\n"
VERSION: Final = "containerd.services.version.v1.Version"
CONTAINERS: Final = "containerd.services.containers.v1"


class Api:
    """Calls of containerd's API at a socket."""

    def __init__(self, socket: Path) -> None:
        options = [("grpc.max_receive_message_length", 64 << 20)]
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=options)
        self.close = self._channel.close

    def method(self, service: str, name: str, **fields: Any) -> Callable[[], Any]:
        """What makes one call."""
        found = interface.methods(service)[name]
        asked, answer = (message(one.full_name) for one in (found.input_type, found.output_type))
        path = f"/{service}/{name}"
        call: Any = self._channel.unary_unary(path, lambda body: body.SerializeToString(), answer.FromString)
        header = (("containerd-namespace", "bench"),)
        return lambda: call(asked(**fields), metadata=header, timeout=60)


def measure(peer: Containerd, actord: Actord, image: str, rounds: int) -> list[Comparison]:
    """Containers of ctr, one after the other and at once; round trips, with a thousand on record."""
    ours = ["ctr", "--address", str(actord.state / "containerd.sock")]
    _until_served(ours)
    for command in (peer.client(), ours):
        timed([*command, "images", "pull", "--plain-http", image])
    return [
        Comparison("ctr run --rm true, the same ctr", "ms", _starts(peer.client(), ours, image, rounds)),
        _at_once(peer.client(), ours, image),
        *_calls(peer, actord, rounds),
        *_memory(peer, actord, ours, image),
    ]


def _until_served(ours: list[str]) -> None:
    """The gateway listens a moment after the daemon."""
    end = time.monotonic() + READY_SECONDS
    while subprocess.run([*ours, "version"], capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            raise RuntimeError(f"{' '.join(ours)} version: not within {READY_SECONDS} s")
        time.sleep(0.05)


def _memory(peer: Containerd, actord: Actord, ours: list[str], image: str) -> list[Comparison]:
    """Of containers that the same ctr has started; not of the same names, since both are on one host."""
    clients = {"p": peer.client(), "a": ours}
    daemons = {"containerd and its shims": peer, "actord, asleep": actord}
    before = {case: memory.total_bytes(daemon.own_processes()) for case, daemon in daemons.items()}
    for number in range(memory.CONTAINERS):
        for name, command in clients.items():
            timed([*command, "run", "--detach", image, f"{name}{number}", *memory.IDLE])
    try:
        time.sleep(memory.SETTLED)
        awake = memory.per_container(peer, actord, "memory per container of ctr (PSS)")
        memory.wait_until_asleep(actord, AWAKE + memory.ASLEEP_LIMIT)
        grown = {
            case: [(memory.total_bytes(daemon.own_processes()) - before[case]) / memory.CONTAINERS]
            for case, daemon in daemons.items()
        }
        return [awake, Comparison("growth of all processes, by container of ctr", "MiB", grown)]
    finally:
        for name, command in clients.items():
            for number in range(memory.CONTAINERS):
                for words in (("tasks", "rm", "--force"), ("containers", "rm")):
                    subprocess.run([*command, *words, f"{name}{number}"], capture_output=True, check=False)


def _starts(theirs: list[str], ours: list[str], image: str, rounds: int) -> dict[str, list[float]]:
    numbers = count()

    def case(command: list[str]) -> Callable[[], float]:
        return lambda: timed([*command, "run", "--rm", image, f"g{next(numbers)}", "true"])

    return in_turn({"on containerd": case(theirs), "on actord": case(ours)}, rounds)


def _at_once(theirs: list[str], ours: list[str], image: str) -> Comparison:
    samples = {}
    for name, command in (("on containerd", theirs), ("on actord", ours)):
        starts = [[*command, "run", "--rm", image, f"h{number}", "true"] for number in range(CROWD)]
        samples[name] = crowd.clients(starts)
    return Comparison(f"{CROWD} of ctr run --rm true at once", "s", samples)


def _calls(peer: Containerd, actord: Actord, rounds: int) -> list[Comparison]:
    with closing(Api(peer.socket)) as theirs, closing(Api(actord.state / "containerd.sock")) as ours:
        apis = {"on containerd": theirs, "on actord": ours}
        versions = {name: average(api.method(VERSION, "Version")) for name, api in apis.items()}
        found = [Comparison("round trip: Version", "ms", in_turn(versions, rounds))]
        for api in apis.values():
            _put_on_record(api)
        lists = {
            name: average(api.method(f"{CONTAINERS}.Containers", "List"), 1) for name, api in apis.items()
        }
        found.append(Comparison(f"Containers.List of {RECORDS}", "ms", in_turn(lists, rounds)))
        for api in apis.values():
            for number in range(RECORDS):
                api.method(f"{CONTAINERS}.Containers", "Delete", id=f"record{number}")()
        return found


def average(call: Callable[[], Any], calls: int = CALLS) -> Callable[[], float]:
    """The seconds that one of so many calls takes."""

    def once() -> float:
        began = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - began) / calls

    return once


def _put_on_record(api: Api) -> None:
    spec = message("google.protobuf.Any")(
        type_url="types.containerd.io/opencontainers/runtime-spec/1/Spec",
        value=json.dumps({"ociVersion": "1.0.2", "process": {"args": ["true"]}}).encode(),
    )
    for number in range(RECORDS):
        given = message(f"{CONTAINERS}.Container")(id=f"record{number}", spec=spec)
        given.runtime.name = "io.containerd.runc.v2"
        api.method(f"{CONTAINERS}.Containers", "Create", container=given)()
