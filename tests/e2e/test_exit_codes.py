"""Exit codes of many short containers, with mixed codes and signals, while their actors are being killed.

ACTORD_EXITS=1000 bin/test -k exit_codes    the whole number; the suite itself makes do with fewer
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(3600)]

COUNT = int(os.environ.get("ACTORD_EXITS", "40"))
AT_ONCE = 8
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGABRT)


def script(number: int) -> tuple[str, int]:
    """What a container does, and the code that this is worth."""
    if number % 4 == 3:
        chosen = SIGNALS[number // 4 % len(SIGNALS)]
        return f"sh -c 'kill -{int(chosen)} $$'; exit $?", 128 + chosen
    return f"sleep 0.0{number % 10}; exit {number % 256}", number % 256


def test_every_exit_code_is_right_though_actors_are_killed(own_daemon: Daemon, busybox: str):
    chance, over, killed = random.Random(6), threading.Event(), []  # noqa: S311
    names = [f"e{number}" for number in range(COUNT)]

    def kill_some() -> None:
        while not over.wait(0.3):
            with contextlib.suppress(AssertionError, ProcessLookupError, KeyError, subprocess.TimeoutExpired):
                actors = [
                    one for one in own_daemon.actors().values() if one["kind"] == "container" and one["pid"]
                ]
                if actors:
                    victim = chance.choice(actors)
                    os.kill(victim["pid"], signal.SIGKILL)
                    killed.append(victim["name"])

    killer = threading.Thread(target=kill_some)
    killer.start()
    try:
        for begin in range(0, COUNT, AT_ONCE):
            clients = [
                own_daemon.popen("run", "-d", "--name", names[number], busybox, "sh", "-c", script(number)[0])
                for number in range(begin, min(COUNT, begin + AT_ONCE))
            ]
            for client in clients:
                _, said = client.communicate(timeout=120)
                assert client.returncode == 0, said
        codes = own_daemon.actr("wait", *names, seconds=600).stdout.split()
    finally:
        over.set()
        killer.join()
    wrong = {
        name: (code, script(number)[1])
        for number, (name, code) in enumerate(zip(names, codes, strict=True))
        if code != str(script(number)[1])
    }
    print(f"{COUNT} containers, {len(killed)} actors killed, {len(wrong)} wrong")  # noqa: T201
    assert wrong == {}
    assert killed, "nothing was killed: the test shows nothing"
