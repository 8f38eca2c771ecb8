"""Clients on other hosts: TCP with keys. Who has none, or the wrong one, gets nowhere and disturbs nobody."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from daemon import CHECKOUT, Daemon, running, wait_until

from tests.ports import free_port
from transport.client import Client
from transport.errors import RemoteError
from transport.keys import new_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root
HALF_OPEN = 300


@pytest.fixture(scope="module")
def far(short_root: Path, busybox: str) -> Iterator[Daemon]:
    directory = short_root / "far"
    directory.mkdir()
    with running(directory, "--listen", f"tcp://127.0.0.1:{free_port()}", "--failpoints") as started:
        started.actr("pull", busybox)
        for name, role in (("oscar", "operator"), ("olga", "observer"), ("ada", "admin")):
            started.actr("keys", "new", name, "--role", role, "-o", directory / f"{name}.json")
        yield started


def from_afar(far: Daemon, name: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """bin/actr with that connection file. One that does not end is looked at before it is killed."""
    command = [CHECKOUT / "bin/actr", "--address", far.directory / f"{name}.json", *words]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as started:
        try:
            stdout, stderr = started.communicate(stdin, timeout=60)
        except subprocess.TimeoutExpired as late:
            late.add_note(whereabouts(far, started.pid))
            started.kill()
            raise
    return subprocess.CompletedProcess(command, started.returncode, stdout, stderr)


def whereabouts(far: Daemon, pid: int) -> str:
    """Where a client's threads wait, and what the daemon makes of it."""
    calls = [path.read_text().strip() for path in Path(f"/proc/{pid}/task").glob("*/syscall")]
    known = [far.actr(*words).stdout for words in (("ps", "-a"), ("actors",))]
    return "\n".join([*calls, *known, *far.log.read_text().splitlines()[-60:]])


def connection(far: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((far.directory / f"{name}.json").read_text())
    return found


def test_an_operator_works_as_at_home(far: Daemon, busybox: str):
    assert from_afar(far, "oscar", "run", "--rm", busybox, "echo", "from afar").stdout == "from afar\n"
    assert from_afar(far, "oscar", "run", "--rm", "-i", busybox, "cat", stdin="typed").stdout == "typed"
    assert from_afar(far, "oscar", "run", "--rm", busybox, "sh", "-c", "exit 7").returncode == 7
    script = "head -c 3000000 /dev/zero | tr '\\0' x"
    assert len(from_afar(far, "oscar", "run", "--rm", busybox, "sh", "-c", script).stdout) == 3_000_000
    done = from_afar(far, "oscar", "keys", "ls")
    assert "keys.list needs the role admin" in done.stderr
    done = from_afar(far, "oscar", "save", "-o", str(far.directory / "saved"), busybox)
    assert "run it on the daemon's host" in done.stderr
    assert not (far.directory / "saved").exists()


def test_an_observer_sees_and_changes_nothing(far: Daemon, busybox: str):
    assert busybox in from_afar(far, "olga", "images").stdout
    done = from_afar(far, "olga", "run", "--rm", busybox, "true")
    assert done.returncode == 125
    assert "containers.create needs the role operator" in done.stderr
    assert "olga (observer) containers.create of metadata" in far.log.read_text()


def test_a_flood_of_refusals_is_counted_and_not_written(far: Daemon):
    wish = {"namespace": "default", "image": "x"}

    def refusals() -> list[str]:
        lines = far.log.read_text().splitlines()
        return [line for line in lines if "olga (observer) containers.create" in line]

    with contextlib.closing(Client(str(far.directory / "olga.json"))) as client:

        def ask() -> None:
            with pytest.raises(RemoteError, match="needs the role operator"):
                client.request("containers.create", wish, to="metadata")

        before, began = len(refusals()), time.monotonic()
        for _ in range(1000):
            ask()
        most = 101 + 20 * (time.monotonic() - began)
        wait_until(
            "a line says how many others there were", lambda: ask() or "more refusals" in refusals()[-1]
        )
    assert len(refusals()) - before <= most + 20 * 20


def test_an_admin_lets_others_in_and_out_at_once(far: Daemon):
    pair = new_pair()
    public, path = pair.public, far.directory / "eve.json"
    fields = {**connection(far, "ada"), "public": public, "secret": pair.secret, "name": "eve"}
    path.write_text(json.dumps(fields))
    assert "does not know key eve" in from_afar(far, "eve", "ps").stderr
    assert from_afar(far, "ada", "keys", "allow", "eve", public).stdout == "eve\n"
    with contextlib.closing(Client(str(path))) as client:
        client.request("containers.list", {}, to="metadata")
        assert from_afar(far, "ada", "keys", "revoke", "eve").stdout == "eve\n"
        with pytest.raises(RemoteError, match="this key has been revoked"):
            client.request("containers.list", {}, to="metadata")
    assert "does not know key eve" in from_afar(far, "eve", "ps").stderr
    names = [
        one["name"] for one in json.loads(from_afar(far, "ada", "keys", "ls", "--format", "json").stdout)
    ]
    assert names == ["ada", "olga", "oscar"]


def test_who_takes_the_daemon_for_another_finds_nobody(far: Daemon):
    fields = {**connection(far, "oscar"), "server": new_pair().public}
    (far.directory / "wrong.json").write_text(json.dumps(fields))
    done = from_afar(far, "wrong", "ps")
    assert done.returncode == 1
    assert "is this the key that it has?" in done.stderr
    (far.directory / "none.json").write_text("{}")
    assert "is no connection file" in from_afar(far, "none", "ps").stderr


def test_without_a_key_nobody_gets_a_word_in(far: Daemon):
    with zmq.Context() as context, context.socket(zmq.DEALER) as plain:
        plain.setsockopt(zmq.LINGER, 0)
        plain.connect(connection(far, "oscar")["endpoint"])
        plain.send_multipart([b"ACTD1", b"\x82\xa1t\xa5HELLO\xa2id\xc4\x10" + bytes(16), b"\x80"])
        assert not plain.poll(1500)
    local = far.actr("ps", "-q")
    assert local.returncode == 0


def test_an_actors_name_is_nobodys_to_claim(far: Daemon):
    """A peer that calls itself metadata/999 gets no request that is meant for metadata."""
    fields = connection(far, "ada")
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket_:
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.ROUTING_ID, b"metadata/999"),
            (zmq.CURVE_SERVERKEY, fields["server"].encode()),
            (zmq.CURVE_PUBLICKEY, fields["public"].encode()),
            (zmq.CURVE_SECRETKEY, fields["secret"].encode()),
        ):
            socket_.setsockopt(option, value)
        socket_.connect(fields["endpoint"])
        socket_.send_multipart([b"ACTD1", b"\x82\xa1t\xa5HELLO\xa2id\xc4\x10" + bytes(16), b"\x80"])
        assert socket_.poll(30_000), "it is welcome, as a client"
        assert b"WELCOME" in socket_.recv_multipart()[1]
        assert far.actr("images", "-q").returncode == 0
        assert not socket_.poll(100)
        socket_.send_multipart([b"ACTD1", b"\x81\xa1t\xa4NOTE", b"\x80"])
        assert socket_.poll(30_000)
        assert b"a client sends no NOTE" in b"".join(socket_.recv_multipart())


def test_a_frame_without_end_and_doors_half_open_disturb_nobody(far: Daemon, busybox: str):
    host, _, port = connection(far, "oscar")["endpoint"].removeprefix("tcp://").rpartition(":")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    doors = [socket.create_connection((host, int(port)), 10) for _ in range(HALF_OPEN)]
    try:
        for door in doors[:20]:
            door.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE".ljust(55, b"\0"))
        doors[0].sendall(b"\x02" + (1 << 30).to_bytes(8, "big"))
        assert from_afar(far, "oscar", "run", "--rm", busybox, "echo", "still").stdout == "still\n"
        assert far.actr("run", "--rm", busybox, "echo", "here").stdout == "here\n"
    finally:
        for door in doors:
            door.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    huge = b"x" * (21 << 20)
    with contextlib.closing(Client(str(far.directory / "oscar.json"))) as client:
        with pytest.raises(RemoteError):
            client.request("containers.list", {}, to="metadata", limit=3.0, buffers=(huge,))
        client.request("containers.list", {}, to="metadata")


class Recorder:
    """A proxy for one connection that knows what was said through it, and can say it again."""

    def __init__(self, to: str) -> None:
        host, _, port = to.removeprefix("tcp://").rpartition(":")
        self.to = (host, int(port))
        self.said = bytearray()
        self.ended = threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.server.getsockname()[1]}"
        self.relays = [threading.Thread(target=self.relay)]
        self.relays[0].start()

    def relay(self) -> None:
        self.inner, _ = self.server.accept()
        self.outer = socket.create_connection(self.to)
        self.relays.append(threading.Thread(target=self.back))
        self.relays[1].start()
        with contextlib.suppress(OSError):
            while piece := self.inner.recv(65536):
                self.said += piece
                self.outer.sendall(piece)

    def back(self) -> None:
        with contextlib.suppress(OSError):
            while piece := self.outer.recv(65536):
                self.inner.sendall(piece)
        self.ended.set()
        self.inner.close()

    def close(self) -> None:
        for one in (self.inner, self.outer, self.server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for relay in self.relays:
            relay.join(10)


def test_what_was_said_once_is_not_done_twice(far: Daemon, busybox: str):
    """Somebody on the way sends a request's bytes again, on the same connection and on one of its own."""
    fields = connection(far, "oscar")
    with contextlib.closing(Recorder(fields["endpoint"])) as proxy:
        path = far.directory / "proxy.json"
        path.write_text(json.dumps({**fields, "endpoint": proxy.address}))
        with contextlib.closing(Client(str(path))) as client:
            before = len(proxy.said)
            wish = {"namespace": "default", "image": busybox, "options": {"args": ["true"]}}
            made = client.request("containers.create", wish, to="metadata")
            proxy.outer.sendall(bytes(proxy.said[before:]))
            assert proxy.ended.wait(20), "the daemon hangs up"
        with socket.create_connection(proxy.to) as door:
            door.settimeout(20)
            with contextlib.suppress(ConnectionError):
                door.sendall(bytes(proxy.said))
                while door.recv(65536):
                    pass
    assert [one["id"] for one in far.json("ps", "-a")] == [made["id"]]
    far.actr("rm", made["id"])


@pytest.mark.parametrize("words", [("run", "--rm"), ("run", "-d"), ("create",)])
def test_a_creation_from_afar_whose_answer_was_lost_is_gone_on_with(
    far: Daemon, busybox: str, words: tuple[str, ...]
):
    """It is on record: the client finds it, and has its actor started, as one of this host does."""
    before = far.pid("metadata")
    far.actr("chaos", "set", "metadata.containers.create.after", "kill(count=1)")
    done = from_afar(far, "oscar", *words, busybox, "echo", "from afar")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "from afar\n" if "--rm" in words else len(done.stdout) == 65
    assert far.pid("metadata") != before
    for one in far.json("ps", "-a"):
        far.actr("rm", "-f", one["id"])


def test_a_stream_from_afar_outlives_the_router(far: Daemon, busybox: str):
    script = "for i in $(seq 200); do echo line $i; sleep 0.02; done"
    words = ["--address", far.directory / "oscar.json", "run", "--rm", busybox, "sh", "-c", script]
    with subprocess.Popen(
        [CHECKOUT / "bin/actr", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        far.kill_actor("router")
        rest, complaint = process.communicate(timeout=60)
    assert (first + rest).splitlines() == [b"line %d" % number for number in range(1, 201)], complaint
    assert process.returncode == 0


def test_a_port_that_somebody_has_keeps_nobody_out_at_home(tmp: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp / "d").mkdir()
        with running(tmp / "d", "--listen", f"tcp://127.0.0.1:{port}") as daemon:
            complaint = f"cannot listen at tcp://127.0.0.1:{port}"
            wait_until("it is in the log", lambda: complaint in daemon.log.read_text())
            daemon.actr("keys", "new", "late", "-o", tmp / "late.json")
            taken.close()
            wait_until("it listens", lambda: "listening at" in daemon.log.read_text())
            with contextlib.closing(Client(str(tmp / "late.json"))) as client:
                assert client.request("containers.list", {}, to="metadata")["containers"] == []


@pytest.mark.parametrize(
    "address", ["tcp://*:7400", "tcp://host:7400", "ipc:///x", "tcp://127.0.0.1:0", "7400"]
)
def test_an_address_that_is_none_is_refused_at_once(tmp: Path, address: str):
    done = subprocess.run(
        [CHECKOUT / "bin/actord", "--root", tmp / "r", "--state", tmp / "s", "--listen", address],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is not of the form tcp://192.0.2.1:7400" in done.stderr


def test_nothing_is_left_of_a_refused_file(far: Daemon, tmp: Path):
    (tmp / "there.json").write_text("precious")
    done = far.actr("keys", "new", "x", "-o", tmp / "there.json", check=None)
    assert done.returncode != 0
    assert (tmp / "there.json").read_text() == "precious"
    far.actr("keys", "new", "no/name", "-o", tmp / "other.json", check=1)
    assert not (tmp / "other.json").exists()
