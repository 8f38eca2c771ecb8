"""Breaks an invariant on purpose, to show that the checks can fail (`--break`)."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from chaos.processes import look
from chaos.runs import kept_output

if TYPE_CHECKING:
    from chaos.runs import Run
    from chaos.scene import Scene

WAYS: Final = ("exit-code", "second-process", "output")
_IMPOSTOR: Final = """import os, time
os.setsid()
open("/proc/self/comm", "w").write("metadata")
time.sleep(600)
"""
_NAMED_LIMIT: Final = 60.0  # seconds that a loaded machine may take to start an interpreter
_started: list[subprocess.Popen[bytes]] = []


def begin(way: str, scene: Scene, run: Run) -> None:
    """At the beginning: expect a wrong exit code, or start a second process under an actor's name."""
    if way == "exit-code":
        run.code += 1
    elif way == "second-process":
        words = [sys.executable, "-c", _IMPOSTOR, "actors.zygote", str(scene.state)]
        impostor = subprocess.Popen(words)
        _started.append(impostor)
        until = time.monotonic() + _NAMED_LIMIT
        while (seen := look(impostor.pid)) is None or seen.comm != "metadata":
            if time.monotonic() > until:
                raise TimeoutError("the impostor has not taken its name")
            time.sleep(0.05)


def end(way: str, scene: Scene, run: Run) -> None:
    """Before the last checks: take away a byte that was kept, or end the impostor."""
    if way == "output":
        while (path := kept_output(scene.root, run)).stat().st_size == 0:
            time.sleep(0.1)
        kept = bytearray(path.read_bytes())
        del kept[0]
        path.write_bytes(kept)
    for impostor in _started:
        impostor.kill()
        impostor.wait()
    _started.clear()
