"""What one operation costs, counted: messages, durable writes, forks. Times depend on the machine, not these.

Whoever makes one of them grow has to say so here.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import images
import pytest
from daemon import wait_until
from gateway_api import CONTAINERS, Api

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Iterator

    from daemon import Daemon
    from registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]
ROUNDS = 5
LOOK = 0.5  # seconds, in which the zygote would have forked those that wait in advance
COLLECTION = 6  # requests of one collection; there may be one for each container that was removed
OTHERS = 3  # requests that come in between, of whoever looks after something from time to time
DURABLE = ("fsync", "fdatasync", "syncfs", "sync_file_range")
RUNTIMES = ("runc", "exe")
FORKS = ("fork", "vfork", "clone", "clone3")
LAYERS = 8  # of the image that is pulled, beside the lowest
DIRECTORIES = 30  # in each of them
FILES = 5  # in each of those


@pytest.fixture
def quiet(own_daemon: Daemon, busybox: str) -> Daemon:
    """A daemon that has done everything once, and has nothing left to do."""
    own_daemon.actr("pull", busybox)
    own_daemon.actr("run", "-d", "--name", "runs", busybox, "sleep", "1000")
    own_daemon.actr("run", "--rm", busybox, "true")
    own_daemon.actr("exec", "runs", "true")
    _wait_for_quiet(own_daemon)
    return own_daemon


def _wait_for_quiet(daemon: Daemon) -> int:
    """Until the only container's actor is that of `runs`; how many times that was asked."""
    looks = count(1)

    def is_quiet() -> int:
        asked = next(looks)
        return asked if sum(name.startswith("container/") for name in daemon.actors()) == 1 else 0

    found: int = wait_until("the actors of containers that are gone have ended", is_quiet)
    return found


@contextmanager
def _traced(daemon: Daemon, into: Path, *more: str, only: str = "") -> Iterator[Counter[str]]:
    """How often the daemon's own processes, and not the runtime's, made each of these calls, and `more`.

    `only`: the actor whose calls are counted.
    """
    counts: Counter[str] = Counter()
    wait_until("nobody is being forked", lambda: _stands_still(daemon))
    pids = [word for pid in daemon.processes() for word in ("-p", str(pid))]
    which = f"trace={','.join((*DURABLE, *FORKS, *more, 'execve'))}"
    tracer = subprocess.Popen(
        ["strace", "-f", "-q", "-Y", "-e", which, "-o", str(into), *pids], stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until("strace is attached", lambda: _is_traced(daemon) or tracer.poll() is not None)
        assert tracer.poll() is None, "strace has ended"
        yield counts
    finally:
        tracer.send_signal(signal.SIGINT)
        complaints = tracer.communicate(timeout=30)[1]
    assert into.exists(), complaints
    for line in into.read_text().splitlines():
        comm, call = re.match(r"\d+<(.*?)> (?:<\.\.\. )?(\w*)", line).groups()  # type: ignore[union-attr]
        of_another = comm.startswith(RUNTIMES) or (only and comm != only)
        if "resumed>" not in line and "CLONE_THREAD" not in line and not of_another:
            counts[call] += 1


def _stands_still(daemon: Daemon) -> bool:
    """Whether no actor has come for a while: one forked before its zygote is traced would not be."""
    before = daemon.processes()
    time.sleep(LOOK)
    return daemon.processes() == before


def _is_traced(daemon: Daemon) -> bool:
    for pid in daemon.processes():
        found = re.search(r"^TracerPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        if found is None or found[1] == "0":
            return False
    return True


def test_a_container_takes_so_many_messages(quiet: Daemon, busybox: str):
    before = quiet.requests()
    own = 1  # the question for the number itself
    for _ in range(ROUNDS):
        quiet.actr("run", "--rm", busybox, "true")
        own += _wait_for_quiet(quiet)
    assert 10 <= (quiet.requests() - before - own) / ROUNDS <= 14 + COLLECTION + OTHERS


def test_a_container_takes_so_many_durable_writes_and_forks(quiet: Daemon, busybox: str, tmp: Path):
    with _traced(quiet, tmp / "trace") as counts:
        for _ in range(ROUNDS):
            quiet.actr("run", "--rm", busybox, "true")
        _wait_for_quiet(quiet)
    durable = sum(counts[call] for call in DURABLE) / ROUNDS
    forks = sum(counts[call] for call in FORKS) / ROUNDS
    # The record, its event; the snapshot; that it runs, if it still does when it is looked at; the exit; the
    # events of start, exit and removal; the snapshot, the record.
    assert 1 <= durable <= 9
    assert 1 <= forks <= 3  # a spare for the one that was taken, the runtime, a rule of the network


def test_one_that_a_client_makes_and_deletes_is_two_commits(quiet: Daemon, tmp: Path):
    socket = quiet.state / "containerd.sock"
    wait_until("the socket is there", socket.exists)
    with closing(Api.at(socket).channel) as channel, _traced(quiet, tmp / "trace", only="metadata") as counts:
        api = Api(channel)
        for _ in range(ROUNDS):
            api.ask(CONTAINERS, "Delete", id=api.container(tmp, "true"))
    # The record; that it goes, and what is told of that.
    assert sum(counts[call] for call in DURABLE) == 2 * ROUNDS


def test_metrics_of_one_read_nothing_of_others(quiet: Daemon, root: Path, tmp: Path):
    """Docker Engine asks for each of its containers once a second."""
    socket = quiet.state / "containerd.sock"
    wait_until("the socket is there", socket.exists)
    with closing(Api.at(socket).channel) as channel:
        api = Api(channel)
        names = [api.container(root, "sleep", "1000") for _ in range(3)]
        for name in names:
            api.task("Create", container_id=name)
            api.task("Start", container_id=name)
        with _traced(quiet, tmp / "trace", "openat"):
            found = [api.task("Metrics", filters=[f"id=={names[0]}"]).metrics for _ in range(ROUNDS)]
        for name in names:
            api.end(name)
    assert [[one.id for one in each] for each in found] == [[names[0]]] * ROUNDS
    lines = (tmp / "trace").read_text().splitlines()  # without the containers' own actors
    read = [line for line in lines if "/sys/fs/cgroup" in line and re.match(r"\d+<(grpc|metrics)", line)]
    assert any(names[0] in line for line in read)
    assert not [line for line in read if any(name in line for name in names[1:])]


def test_an_exec_takes_so_many_durable_writes_and_forks(quiet: Daemon, tmp: Path):
    with _traced(quiet, tmp / "trace") as counts:
        for _ in range(ROUNDS):
            quiet.actr("exec", "runs", "true")
    assert 1 <= sum(counts[call] for call in DURABLE) / ROUNDS <= 2  # its events
    assert 1 <= sum(counts[call] for call in FORKS) / ROUNDS <= 2


@pytest.fixture
def many_layers(registry: Registry, tmp: Path) -> str:
    """An image of small files, all of root, in layers that have nothing in common."""

    def layer(number: int) -> Callable[[tarfile.TarFile], None]:
        def write(tar: tarfile.TarFile) -> None:
            for directory in range(DIRECTORIES):
                name = f"{number}-{directory}"
                tar.addfile(images.directory_entry(name))
                for file in range(FILES):
                    images.add_file(tar, f"{name}/{file}", b"x" * 100)

        return write

    layout = images.Layout(tmp / "many")
    layers = [layout.add_layer(write) for write in (images.write_busybox, *map(layer, range(LAYERS)))]
    layout.tag("t", layout.add_image(layers, {}))
    name = f"{registry.host}/library/many-layers:t"
    images.push(layout, "t", name)
    return name


def test_a_pull_takes_so_many_messages_for_each_layer(quiet: Daemon, many_layers: str):
    before = quiet.requests()
    quiet.actr("pull", many_layers)
    # Each blob opened and committed, and noted; each snapshot looked for, cleared, prepared and committed.
    assert LAYERS * 6 <= quiet.requests() - before <= LAYERS * 9 + 32


def test_a_pull_takes_so_many_forks_and_calls_for_each_file(quiet: Daemon, many_layers: str, tmp: Path):
    with _traced(quiet, tmp / "trace", "openat", "fchmod", "fchown", "utimensat") as counts:
        quiet.actr("pull", many_layers)
    directories = LAYERS * DIRECTORIES
    files = directories * FILES
    durable = sum(counts[call] for call in DURABLE)
    assert 1 <= sum(counts[call] for call in FORKS) <= 4 + 3  # not one for each layer; spares
    assert LAYERS * 3 <= durable <= LAYERS * 9 + 32
    assert files <= counts["openat"] <= files + 2 * directories + 700  # the rest has nothing to do with files
    assert counts["fchmod"] + counts["fchown"] <= 4 * (LAYERS + 1)  # of each layer's own directory
    assert counts["utimensat"] <= files + directories + 500  # the links of busybox among them
