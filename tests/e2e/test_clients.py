"""Clients in other languages: each reads and writes the vectors, and works through one session with a daemon.

The session (clients/README.md) is the same for all, over the Unix socket and over TCP with keys; in the
middle of it the router is killed. Another one is with a router that is made up: it leaves out and doubles
messages.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import CHECKOUT, Daemon, running

from clients.conformance import check_client, check_server
from tests.ports import free_port
from tests.unit.cli.fake_daemon import Asked, FakeDaemon
from transport.keys import new_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Program = Callable[[str], list[str]]

pytestmark = pytest.mark.root
CLIENTS = CHECKOUT / "clients"
PATIENCE = 60.0  # seconds for a session


@dataclass(frozen=True)
class Language:
    """How a client's program is made and called; `{here}` is its source, `{built}` for what is made."""

    program: str
    build: str = ""


LANGUAGES = {
    "python": Language(f"env PYTHONPATH={{here}} {sys.executable} -Xfaulthandler -P {{here}}/session.py"),
    "c": Language("{built}/session", "make -s -C {here} BUILD={built}"),
    "node": Language("node {here}/build/session.js", "{here}/node_modules/.bin/tsc -p {here}"),
    "perl": Language("perl {here}/session.pl"),
    "ruby": Language("ruby {here}/session.rb"),
    "java": Language("sh {here}/run {built}", "sh {here}/build {built}"),
    "rust": Language(
        "{built}/debug/session",
        "env --chdir={here} cargo build --offline --quiet --target-dir {built}",
    ),
}
SESSION = """\
connected, protocol 1
list: metadata is there
error: not_found
malformed: not sent
pull: progress, then {image}
run: 200000 bytes out, 5 bytes err, exit 7
exec: from exec, exit 0
events: /containers/create, resumed: /tasks/start /tasks/exec-started
overload: 5000 answered, refused, cancelled and done
kill the router
reconnected: every line, once
bye
"""
ACTOR = "container/default/box"
TOPICS = ["/containers/create", "/tasks/start", "/tasks/oom", "/tasks/exit"]
TEXT = b"0123456789abcdef"  # comes in pieces of 4
STREAMS = f"""\
output: {TEXT.decode()}, exit 7
events: {" ".join(TOPICS)}
"""
# What each of four requests for a stream is answered, by the numbers of what is left of four: one is left
# out, one comes twice, the last one is left out, and all is well.
LOSSES = ((1, 3, 4), (1, 1, 2, 3), (1,), (1,))


@pytest.fixture(scope="module")
def far(short_root: Path, busybox: str) -> Iterator[Daemon]:
    directory = short_root / "clients"
    directory.mkdir()
    with running(directory, "--listen", f"tcp://127.0.0.1:{free_port()}") as started:
        started.actr("pull", busybox)
        started.actr("keys", "new", "oscar", "--role", "operator", "-o", directory / "oscar.json")
        yield started


def talk(far: Daemon, command: list[str], parent: str) -> tuple[list[str], str, int]:
    """Its lines, its complaints, its exit code; the router is killed when it says so."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TRACEPARENT": parent},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        watchdog = threading.Timer(PATIENCE, process.send_signal, [signal.SIGABRT])
        watchdog.start()
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if line == "kill the router\n":
                    far.kill_actor("router")
                    process.stdin.write("killed\n")
                    process.stdin.flush()
            return lines, process.stderr.read(), process.wait()
        finally:
            watchdog.cancel()
            watchdog.join()
            process.kill()


@pytest.fixture(scope="session")
def program(short_root: Path) -> Callable[[str], list[str]]:
    """The command of a language's program, which is built when it is first asked for."""

    @functools.cache
    def made(name: str) -> list[str]:
        built = short_root / "built" / name
        built.mkdir(parents=True, exist_ok=True)
        where = {"here": CLIENTS / name, "built": built}
        subprocess.run(LANGUAGES[name].build.format(**where).split() or ["true"], check=True, timeout=120)
        return LANGUAGES[name].program.format(**where).split()

    return made


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_client_reads_and_writes_every_vector(program: Program, name: str):
    assert check_client([*program(name), "vectors"]) == []


@pytest.mark.parametrize("way", ["ipc", "tcp"])
@pytest.mark.parametrize(("name", "mode"), [*((name, "session") for name in LANGUAGES), ("python", "async")])
def test_a_client_works_through_the_session(
    far: Daemon, busybox: str, program: Program, name: str, mode: str, way: str
):
    file = far.state / "connection.json" if way == "ipc" else far.directory / "oscar.json"
    trace = os.urandom(16).hex()
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    lines, complaints, code = talk(far, [*program(name), mode, str(file), busybox], parent)
    assert "".join(lines) == SESSION.format(image=busybox), complaints
    assert code == 0
    assert far.json("ps", "-a") == []
    made = [event["trace"] for event in far.json("events", "--no-follow", "--topic", "/containers/create")]
    assert made[-3:] == [trace] * 3


def lossy(
    left: Callable[[dict[str, Any]], list[int]], say: Callable[[Asked, int, int], None]
) -> list[Callable[[Asked], None]]:
    """Scripts for a stream: `left` is where all that is asked for begins, `say` says one by its number."""

    def script(numbers: tuple[int, ...]) -> Callable[[Asked], None]:
        def answer(asked: Asked) -> None:
            rest = left(asked.body)
            for number in numbers:
                say(asked, rest[number - 1], number)
            asked.fin({"exit_code": 7}, number=len(rest) + 1)

        return answer

    return [script(numbers) for numbers in LOSSES]


@pytest.fixture
def router(tmp: Path) -> Iterator[FakeDaemon]:
    found = FakeDaemon(tmp / "s")
    (tmp / "connection.json").write_text(json.dumps({"protocol": 1, "endpoints": [f"ipc://{found.path}"]}))
    found.answers("containers.create", {"id": "box", "actor": ACTOR})
    found.answers("tasks.start", {})
    found.on["tasks.output"] = lossy(
        lambda body: list(range(body["stdout"], len(TEXT), 4)),
        lambda asked, at, number: asked.output(1, at, TEXT[at : at + 4], number=number),
    )
    found.on["events.subscribe"] = lossy(
        lambda body: list(range(body["after"], len(TOPICS))),
        lambda asked, at, number: asked.event(at + 1, {"seq": at + 1, "topic": TOPICS[at]}, number=number),
    )
    yield found
    found.close()


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_client_misses_what_is_left_out_of_a_stream(
    router: FakeDaemon, tmp: Path, program: Program, name: str
):
    done = subprocess.run(
        [*program(name), "streams", str(tmp / "connection.json")],
        env={**os.environ, "TRACEPARENT": f"00-{'0' * 32}-00f067aa0ba902b7-01"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == (STREAMS, 0), done.stderr
    assert [body["stdout"] for body in router.bodies("tasks.output")] == [0, 4, 8, 12]
    assert [body["after"] for body in router.bodies("events.subscribe")] == [0, 1, 2, 3]
    asked = [one.envelope.id for one in router.asked if one.op in ("tasks.output", "events.subscribe")]
    cancelled = {one.re for one in router.told if one.type == "CANCEL"}
    assert {*asked[:3], *asked[4:7]} <= cancelled
    (trace,) = {one.envelope.trace for one in router.asked}  # what was in the environment makes no sense
    assert re.fullmatch("[0-9a-f]{32}", trace)
    assert trace.strip("0")
    assert router.problems == []


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_client_says_what_is_wrong(far: Daemon, tmp: Path, program: Program, name: str):
    stranger = new_pair()
    fields = json.loads((far.directory / "oscar.json").read_text())
    (tmp / "strange.json").write_text(
        json.dumps({**fields, "public": stranger.public, "secret": stranger.secret})
    )
    (tmp / "empty.json").write_text("{}")
    for file, complaint in (
        ("none.json", f"cannot read {tmp / 'none.json'}"),
        ("empty.json", f"{tmp / 'empty.json'} is no connection file"),
        ("strange.json", "does not know this key"),
    ):
        done = subprocess.run(
            [*program(name), "session", str(tmp / file), "x"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert complaint in done.stderr


@pytest.mark.parametrize("way", ["ipc", "tcp"])
def test_the_daemon_keeps_the_protocol(far: Daemon, busybox: str, way: str):
    far.actr("run", "--rm", busybox, "true")  # events, to be counted
    file = far.state / "connection.json" if way == "ipc" else far.directory / "oscar.json"
    assert check_server(str(file)) == []
