"""What others feel of a peer on TCP that means no good: round trips at home and from afar, memory.

Each attack is a process of its own, `python -m bench.hostile NAME FRIEND.json OBSERVER.json`, which says when
it is under way and goes on until it is ended. tests/e2e/test_far.py shows that each of them is refused.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq

from bench.pairs import Comparison
from bench.peers import Actord
from transport.client import Client
from transport.envelope import request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).resolve().parents[1]
HALF_OPEN: Final = 10_000
LOUD: Final = 20  # connections of each of the other kinds
SAMPLES: Final = 200  # for each round
READY_SECONDS: Final = 120
GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE".ljust(55, b"\0")
GIGABYTE: Final = b"\x02" + (1 << 30).to_bytes(8, "big")


class Listening(Actord):
    """actord with a door to other hosts, at a port of loopback that is free now."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self._port = one.getsockname()[1]

    def command(self) -> list[str]:
        """As Actord's."""
        return [*super().command(), "--listen", f"tcp://127.0.0.1:{self._port}"]


def measure(actord: Actord, rounds: int) -> list[Comparison]:
    """The round trips of a client on the Unix socket, and of one on TCP, while each attack goes on."""
    files = []
    for name, role in (("friend", "operator"), ("observer", "observer")):
        files.append(actord.directory / f"{name}.json")
        actord.run("keys", "new", name, "--role", role, "-o", str(files[-1]))
    home: dict[str, list[float]] = {}
    far: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    for name in ("nobody", *ATTACKS):
        with _attack(name, files), closing(Client(actord.address)) as here:
            home[name] = _round_trips(here, rounds)
            with closing(Client(str(files[0]))) as there:
                far[name] = _round_trips(there, rounds)
            memory[name] = [_memory_of_router(here)]
    return [
        Comparison("others at home, beside ...", "ms", home),
        Comparison("others from afar", "ms", far),
        Comparison("memory of the router", "MiB", memory),
    ]


def _memory_of_router(client: Client) -> float:
    actors = client.request("introspection.actors", {}, to="supervisor")["actors"]
    return float(next(one["memory"] for one in actors if one["name"] == "router"))


def _round_trips(client: Client, rounds: int) -> list[float]:
    took = []
    for _ in range(SAMPLES * rounds):
        began = time.perf_counter()
        client.request("introspection.version", {}, to="supervisor")
        took.append(time.perf_counter() - began)
        time.sleep(0.001)  # within the rate that one peer may have
    return took


@contextmanager
def _attack(name: str, files: list[Path]) -> Iterator[None]:
    if name == "nobody":
        yield
        return
    command = [sys.executable, "-P", "-m", "bench.hostile", name, *map(str, files)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"under way\n", name
            yield
            assert process.poll() is None, f"{name} gave up"
        finally:
            process.kill()


# The attacks


def _address(file: Path) -> tuple[str, int]:
    host, _, port = json.loads(file.read_text())["endpoint"].removeprefix("tcp://").rpartition(":")
    return host, int(port)


def _again_and_again(connect: Callable[[], socket.socket], many: int) -> None:
    """Keep so many connections; the daemon ends them, and they come back."""
    doors = [connect() for _ in range(many)]
    print("under way", flush=True)
    while True:
        doors.append(connect())
        doors.pop(0).close()
        time.sleep(0.01)


def half_open(friend: Path, _: Path) -> None:
    """Connections that say nothing."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _again_and_again(lambda: socket.create_connection(_address(friend), 30), HALF_OPEN)


def half_open_at_home(friend: Path, _: Path) -> None:
    """The same on the Unix socket."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    path = friend.parent / "state" / "actord.sock"

    def connect() -> socket.socket:
        door = socket.socket(socket.AF_UNIX)
        door.connect(str(path))
        return door

    _again_and_again(connect, HALF_OPEN)


def gigabyte(friend: Path, _: Path) -> None:
    """Frames that say that they will be a gigabyte, and begin."""

    def connect() -> socket.socket:
        door = socket.create_connection(_address(friend), 30)
        door.settimeout(1)
        try:
            door.sendall(GREETING + GIGABYTE)
            door.sendall(bytes(1 << 20))
        except OSError:  # the daemon has hung up already
            pass
        return door

    _again_and_again(connect, LOUD)


def replay(friend: Path, _: Path) -> None:
    """What a friend's connection sent, once more."""
    said = _recorded(friend)

    def connect() -> socket.socket:
        door = socket.create_connection(_address(friend), 30)
        for piece in said:
            try:
                door.sendall(piece)
                door.settimeout(0.05)
                door.recv(65536)
            except OSError:
                break
        return door

    _again_and_again(connect, LOUD)


def _recorded(friend: Path) -> list[bytes]:
    """A friend's connection, by way of a proxy that writes down what he says."""
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        fields = json.loads(friend.read_text())
        fields["endpoint"] = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        through = friend.with_suffix(".proxy")
        through.write_text(json.dumps(fields))
        threading.Thread(target=_relay, args=(server, _address(friend), said), daemon=True).start()
        with closing(Client(str(through))) as client:
            client.request("introspection.version", {}, to="supervisor")
    return said


def _relay(server: socket.socket, to: tuple[str, int], said: list[bytes]) -> None:
    inner, _ = server.accept()
    with inner, socket.create_connection(to) as outer:
        back = threading.Thread(target=_copy, args=(outer, inner, []), daemon=True)
        back.start()
        _copy(inner, outer, said)


def _copy(source: socket.socket, sink: socket.socket, said: list[bytes]) -> None:
    try:
        while piece := source.recv(65536):
            said.append(piece)
            sink.sendall(piece)
    except OSError:
        pass


def strangers(friend: Path, _: Path) -> None:
    """Keys that nobody has allowed, which try and try."""
    context = zmq.Context()
    fields = json.loads(friend.read_text())
    for _number in range(LOUD):
        public, secret = zmq.curve_keypair()
        _dealer(context, {**fields, "public": public.decode(), "secret": secret.decode()})
    print("under way", flush=True)
    threading.Event().wait()


def flood(_: Path, observer: Path) -> None:
    """An observer that asks for containers, as fast as it can, and reads the refusals."""
    dealer = _dealer(zmq.Context(), json.loads(observer.read_text()))
    wish = {"namespace": "default", "image": "x"}
    print("under way", flush=True)
    while True:
        dealer.send_multipart(request("metadata", "containers.create", wish).to_frames())
        while dealer.poll(0):
            dealer.recv_multipart()


def slow_reader(_: Path, observer: Path) -> None:
    """An observer that asks for much, and reads nothing."""
    dealer = _dealer(zmq.Context(), json.loads(observer.read_text()))
    print("under way", flush=True)
    while True:
        dealer.send_multipart(request("supervisor", "introspection.actors", {"memory": False}).to_frames())
        time.sleep(0.002)


def _dealer(context: zmq.Context[zmq.Socket[bytes]], fields: dict[str, Any]) -> zmq.Socket[bytes]:
    dealer = context.socket(zmq.DEALER)
    for option, value in ((zmq.RCVHWM, 1), (zmq.RCVBUF, 4096), (zmq.RECONNECT_IVL, 100), (zmq.LINGER, 0)):
        dealer.setsockopt(option, value)
    dealer.curve_serverkey = fields["server"].encode()
    dealer.curve_publickey = fields["public"].encode()
    dealer.curve_secretkey = fields["secret"].encode()
    dealer.connect(fields["endpoint"])
    return dealer


ATTACKS: Final = {
    "10,000 half-open": half_open,
    "10,000 half-open at home": half_open_at_home,
    "frames of a gigabyte": gigabyte,
    "replayed connections": replay,
    "keys that are not allowed": strangers,
    "an observer's flood": flood,
    "a slow reader": slow_reader,
}

if __name__ == "__main__":
    ATTACKS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
