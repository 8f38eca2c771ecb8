"""Breaks an invariant on purpose, to show that the checks can fail (`--break`)."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

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
_started: list[subprocess.Popen[bytes]] = []


def begin(way: str, scene: Scene, run: Run) -> None:
    """At the beginning: expect a wrong exit code, or start a second process under an actor's name."""
    if way == "exit-code":
        run.code += 1
    elif way == "second-process":
        words = [sys.executable, "-c", _IMPOSTOR, "actors.zygote", str(scene.state)]
        _started.append(subprocess.Popen(words))


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
