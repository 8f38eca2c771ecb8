"""Debian's Docker Engine, unmodified, on actord: each step as on Debian's containerd.

The whole session takes minutes: run it with -m slow.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import engine as engines
import pytest
from daemon import wait_until
from test_sleep import killed

from session import STEPS, compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon import Daemon
    from engine import Engine, Peer

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]
SEED = int(os.environ.get("ACTORD_TEST_SEED", "8"))
CONTAINERS = 0.5  # share of the deaths
PAUSES = (0.05, 0.6)  # seconds between two deaths, at least and at most
CODES = {"three": 3, "five": 5, "seven": 7}
KNOWN = sorted(["stays running 0", *(f"{name} exited {code}" for name, code in CODES.items())])


@pytest.fixture
def archive(tmp: Path) -> Path:
    return engines.root_archive(tmp)


@pytest.fixture
def their_pair(tmp: Path, archive: Path) -> Iterator[tuple[Engine, Peer]]:
    """An engine on containerd, and that."""
    (tmp / "c").mkdir()
    with engines.on_containerd(tmp / "c", archive) as found:
        yield found


@pytest.fixture
def theirs(their_pair: tuple[Engine, Peer]) -> Engine:
    return their_pair[0]


@pytest.fixture
def pair(tmp: Path, archive: Path) -> Iterator[tuple[Engine, Daemon]]:
    """An engine on actord, and that."""
    (tmp / "a").mkdir()
    with engines.on_actord(tmp / "a", archive) as found:
        yield found


def test_a_short_session(pair: tuple[Engine, Daemon], theirs: Engine):
    compare(pair[0], theirs, [step for step in STEPS if step.quick])


@pytest.mark.slow
def test_the_whole_session(pair: tuple[Engine, Daemon], theirs: Engine):
    assert len(STEPS) >= 60
    compare(pair[0], theirs, STEPS)


@pytest.mark.slow
def test_the_whole_session_while_actors_are_killed(pair: tuple[Engine, Daemon], theirs: Engine):
    ours, daemon = pair
    with _killing(daemon, random.Random(SEED)) as killed:  # noqa: S311
        compare(ours, theirs, STEPS)
    print(f"seed {SEED}, killed: {Counter(name.partition('/')[0] for name in killed)}")  # noqa: T201
    assert len(killed) > 100


@contextlib.contextmanager
def _killing(daemon: Daemon, chance: random.Random) -> Iterator[list[str]]:
    """SIGKILL to one actor after the other, but for the gateway, whose calls under way would end with it."""
    killed: list[str] = []
    over = threading.Event()

    def kill() -> None:
        while not over.wait(chance.uniform(*PAUSES)):
            with contextlib.suppress(AssertionError, ProcessLookupError, KeyError):
                actors = daemon.actors()
                name = _next(sorted(set(actors) - {"zygote", "grpc"}), chance)
                pid = actors[name]["pid"]
                assert pid > 0  # it is only just coming back; 0 would be all of this test
                os.kill(pid, signal.SIGKILL)
                killed.append(name)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def _next(names: list[str], chance: random.Random) -> str:
    """Every other one a container's, whose work in hand is the client's own."""
    containers = [name for name in names if name.startswith("container/")]
    return chance.choice(containers if containers and chance.random() < CONTAINERS else names)


def test_exits_while_all_of_actord_is_dead(pair: tuple[Engine, Daemon]):
    engine, daemon = pair
    _exits_while_dead(engine, daemon)
    wait_until("the engine knows", lambda: _shown(engine) == KNOWN, 60)
    assert engine.ok("exec", "stays", "echo", "inside") == "inside\n"
    assert engine.ok("start", "three") == "three\n"


def test_the_zygote_dies_while_its_containers_actors_sleep(tmp: Path, archive: Path):
    """Nothing that they write meanwhile is lost, to standard error or a terminal, nor how they end."""
    (tmp / "a").mkdir()
    with engines.on_actord(tmp / "a", archive, sleep_after=0.3) as (engine, daemon):
        script = "trap 'echo last >&2; exit 5' TERM; echo first >&2; while :; do sleep 0.1; done"
        for name, words in {"plain": (), "shown": ("-t",)}.items():
            engine.ok("run", "-d", "--name", name, *words, "busybox", "sh", "-c", script)
        _until_asleep(daemon, 2)
        killed(daemon)
        pids = [engine.ok("inspect", "-f", "{{.State.Pid}}", name).strip() for name in ("plain", "shown")]
        _end(engine, pids)
        daemon.start()
        for name in ("plain", "shown"):
            assert engine.ok("wait", name) == "5\n"
            shown = engine.client("logs", name)
            assert (shown.stdout + shown.stderr).split() == ["first", "last"]


def _until_asleep(daemon: Daemon, number: int) -> None:
    def states() -> list[str]:
        return [one["state"] for name, one in daemon.actors().items() if name.startswith("container/")]

    wait_until("their actors sleep", lambda: states() == ["asleep"] * number)


@pytest.mark.slow
def test_exits_while_all_of_containerd_is_dead(their_pair: tuple[Engine, Peer]):
    """The same, for comparison: the engine never learns how they ended. docs/containerd.md has it."""
    engine, peer = their_pair
    _exits_while_dead(engine, peer)
    end = time.monotonic() + 30
    while time.monotonic() < end and _shown(engine) != KNOWN:
        time.sleep(0.5)
    found = _shown(engine)
    print(f"with containerd: {found}")  # noqa: T201
    print(engine.client("exec", "stays", "echo", "inside"))  # noqa: T201
    assert found != KNOWN


def _exits_while_dead(engine: Engine, daemon: Daemon | Peer) -> None:
    """All of the daemon's processes are killed; then three containers end, and the daemon starts again."""
    pids = _run_until_told(engine)
    daemon.kill_everything()
    _end(engine, pids)
    daemon.start()


def _run_until_told(engine: Engine) -> list[str]:
    """Containers that end with a known code when they get SIGTERM, and one that stays; pids of the former."""
    for name, code in {**CODES, "stays": 0}.items():
        script = f"trap 'exit {code}' TERM; echo started; while :; do sleep 0.1; done"
        engine.ok("run", "-d", "--name", name, "busybox", "sh", "-c", script)
        wait_until("it runs", lambda name=name: "started" in engine.ok("logs", name))
    return [engine.ok("inspect", "-f", "{{.State.Pid}}", name).strip() for name in CODES]


def _end(engine: Engine, pids: list[str]) -> None:
    engine.host.run("kill", *pids)
    wait_until("they have ended", lambda: not any(Path("/proc", pid).exists() for pid in pids))


def _shown(engine: Engine) -> list[str]:
    names = engine.ok("ps", "-a", "--format", "{{.Names}}").split()
    found = engine.ok("inspect", "-f", "{{.Name}} {{.State.Status}} {{.State.ExitCode}}", *names)
    return sorted(line.removeprefix("/") for line in found.splitlines())
