"""Containers of containerd's clients sleep too, and their clients see nothing of it."""

from __future__ import annotations

import contextlib
import os
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import Daemon, wait_until
from gateway_api import Api, serving
from test_grpc_terminals import fifos, on_terminal
from test_sleep import killed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]
KEPT_AWAKE = 1.5  # seconds, several times as long as it would take to sleep
SAYS = "while read line; do echo out $line; echo err $line >&2; done; exit 7"


@pytest.fixture
def sleepy(tmp: Path) -> Iterator[tuple[Daemon, Api]]:
    """Its actors sleep as soon as they can."""
    (tmp / "d").mkdir()
    with serving(tmp / "d", sleep_after=0.2) as (daemon, api):
        yield daemon, api


class Client:
    """What has a container's standard streams."""

    def __init__(self, directory: Path) -> None:
        self.names = {name: str(directory / name) for name in ("stdin", "stdout", "stderr")}
        for path in self.names.values():
            os.mkfifo(path)
        flags = {"stdin": os.O_RDWR, "stdout": os.O_RDONLY, "stderr": os.O_RDONLY}
        self.ends = {name: os.open(path, flags[name] | os.O_NONBLOCK) for name, path in self.names.items()}

    def says(self, line: str) -> None:
        os.write(self.ends["stdin"], f"{line}\n".encode())

    def hears(self, name: str, wanted: bytes) -> bool:
        """Whether this comes, before an end of the stream does."""
        found = b""
        while wanted not in found and select.select([self.ends[name]], [], [], 20)[0]:
            try:
                more = os.read(self.ends[name], 4096)
            except BlockingIOError:
                continue
            if not more:
                return False
            found += more
        return wanted in found

    def is_at_its_end(self, name: str) -> bool:
        """Whether nobody has the other end any more."""
        try:
            return os.read(self.ends[name], 1) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        for end in self.ends.values():
            os.close(end)


@pytest.fixture
def client(tmp: Path) -> Iterator[Client]:
    directory = tmp / "fifos"
    directory.mkdir()
    with contextlib.closing(Client(directory)) as found:
        yield found


def is_asleep(daemon: Daemon, name: str) -> bool:
    return daemon.actors()[f"container/default/{name}"]["state"] == "asleep"


def sleeps(daemon: Daemon, name: str) -> None:
    wait_until(f"{name} sleeps", lambda: is_asleep(daemon, name))


def started(api: Api, root: Path, client: Client, *words: str) -> str:
    name = api.container(root, *words)
    api.task("Create", container_id=name, **client.names)
    api.task("Start", container_id=name)
    return name


def test_its_streams_its_end_and_its_state_are_what_they_would_be(
    sleepy: tuple[Daemon, Api], root: Path, client: Client
):
    daemon, api = sleepy
    name = started(api, root, client, "sh", "-c", SAYS)
    sleeps(daemon, name)
    for line in ("one", "two"):
        client.says(line)
        assert client.hears("stdout", f"out {line}\n".encode())
        assert client.hears("stderr", f"err {line}\n".encode())
        sleeps(daemon, name)
    got = api.task("Get", container_id=name).process
    assert (got.status, got.stderr) == (2, client.names["stderr"])
    sleeps(daemon, name)
    api.task("CloseIO", container_id=name, stdin=True)
    os.close(client.ends.pop("stdin"))
    wait_until("its end is seen", lambda: api.task("Get", container_id=name).process.status == 3)
    assert api.task("Wait", container_id=name).exit_status == 7
    wait_until("both have ended", lambda: client.is_at_its_end("stdout") and client.is_at_its_end("stderr"))
    sleeps(daemon, name)  # with an end of which nobody has taken note yet
    assert api.task("Delete", container_id=name).exit_status == 7
    sleeps(daemon, name)  # and without a process


def test_the_zygote_dies_over_it_and_its_client_keeps_its_streams(
    sleepy: tuple[Daemon, Api], root: Path, client: Client
):
    """What it writes while there is no daemon comes with the next one."""
    daemon, api = sleepy
    name = started(api, root, client, "sh", "-c", SAYS)
    sleeps(daemon, name)
    killed(daemon)
    client.says("alone")
    assert client.hears("stdout", b"out alone\n")  # which is in nobody's hands but theirs
    assert not client.is_at_its_end("stderr")  # who had the other end has gone by now, or has it
    daemon.start()
    assert client.hears("stderr", b"err alone\n")
    sleeps(daemon, name)
    client.says("again")
    assert client.hears("stderr", b"err again\n")
    api.end(name)


@pytest.mark.parametrize("asleep", [True, False])
def test_its_input_has_no_end_by_the_death_of_the_zygote(
    tmp: Path, root: Path, client: Client, *, asleep: bool
):
    """Though no client has it open just then: the next one may come."""
    (tmp / "d").mkdir()
    with serving(tmp / "d", sleep_after=0.2 if asleep else 3600) as (daemon, api):
        name = started(api, root, client, "sh", "-c", SAYS)
        if asleep:
            sleeps(daemon, name)
        os.close(client.ends.pop("stdin"))
        for line in ("one", "two"):
            killed(daemon)
            daemon.start()
            if asleep:
                sleeps(daemon, name)
            client.ends["stdin"] = os.open(client.names["stdin"], os.O_WRONLY | os.O_NONBLOCK)
            client.says(line)
            os.close(client.ends.pop("stdin"))
            assert client.hears("stdout", f"out {line}\n".encode())
        api.task("CloseIO", container_id=name, stdin=True)
        assert api.task("Wait", container_id=name).exit_status == 7
        api.end(name)


def test_it_ends_while_there_is_no_daemon(sleepy: tuple[Daemon, Api], root: Path, client: Client):
    daemon, api = sleepy
    name = started(api, root, client, "sh", "-c", "read line; echo last >&2; exit 5")
    sleeps(daemon, name)
    pid = api.task("Get", container_id=name).process.pid
    sleeps(daemon, name)
    killed(daemon)
    client.says("go")
    wait_until("it has ended", lambda: not Path(f"/proc/{pid}").exists())
    daemon.start()
    assert client.hears("stderr", b"last\n")
    assert api.task("Wait", container_id=name).exit_status == 5
    wait_until("its streams have ended", lambda: client.is_at_its_end("stderr"))
    api.end(name)


def test_a_terminal_is_typed_into_and_shown_whoever_dies(sleepy: tuple[Daemon, Api], root: Path, tmp: Path):
    daemon, api = sleepy
    directory = tmp / "terminal"
    directory.mkdir()
    with on_terminal(api, root, directory, "") as typed:
        name = typed.fields["container_id"]
        assert typed.shows(b"> ")
        sleeps(daemon, name)
        typed.types("echo $((1200+34))")
        assert typed.shows(b"1234")
        sleeps(daemon, name)
        killed(daemon)
        typed.types("echo $((5600+78))")
        daemon.start()
        assert typed.shows(b"5678")
        assert typed.has_size(31, 77)
        sleeps(daemon, name)


def test_a_client_that_does_not_read_keeps_it_awake(sleepy: tuple[Daemon, Api], root: Path, client: Client):
    """What waits for it is ours to move."""
    daemon, api = sleepy
    name = started(api, root, client, "sh", "-c", "yes | head -c 200000 >&2; sleep 1000")
    time.sleep(KEPT_AWAKE)
    assert not is_asleep(daemon, name)
    got = 0
    while got < 200000 and select.select([client.ends["stderr"]], [], [], 20)[0]:
        got += len(os.read(client.ends["stderr"], 65536))
    assert got == 200000
    sleeps(daemon, name)
    api.end(name)


def test_who_waits_for_its_end_keeps_it_awake_and_no_longer(
    sleepy: tuple[Daemon, Api], root: Path, tmp: Path
):
    daemon, api = sleepy
    directory = tmp / "own"
    directory.mkdir()
    with fifos(directory) as (names, _, _):
        name = api.container(root, "sleep", "1000")
        api.task("Create", container_id=name, **names)
        api.task("Start", container_id=name)
        waiting = api.stream("containerd.services.tasks.v1.Tasks", "Wait", container_id=name)
        time.sleep(KEPT_AWAKE)
        assert not is_asleep(daemon, name)
        waiting.cancel()
        sleeps(daemon, name)
        api.end(name)
