"""Debian's ctr on actord: each command as on Debian's containerd."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from archives import Containerd
from ctr_steps import STEPS
from daemon import running, wait_until

from session import compare

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

KIND = re.compile(r"ctr: .*: (?=[a-z ]+\n)")  # what comes before the kind of an error: each has its own words
CHANCE = re.compile(
    r'time=.*"(failed to get content info|active check failed)" error="context canceled"\n'
)  # a progress bar
OWN = (
    (re.compile(r"/tmp/[^,:\s]*/(fs|work)\b"), "PLACE"),
    (re.compile(r"\b\d+(?= +(RUNNING|PAUSED|STOPPED|-$))", re.MULTILINE), "PID"),
)


@dataclass(frozen=True)
class Ctr:
    """The command line, on one daemon.

    Attributes:
        names: what stands for what in the steps, and in what is printed once more for the comparison.
    """

    socket: Path
    names: dict[str, str]

    def client(self, *words: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """What comes of these words."""
        said = [str(word) for word in words]
        for name, meant in self.names.items():
            said = [word.replace(name, meant) for word in said]
        stdin = {"input": given} if given is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(
            ["ctr", "--address", str(self.socket), *said], capture_output=True, text=True, timeout=60,
            check=False, errors="replace", **stdin,
        )  # fmt: skip
        done.stdout = (
            "" if {"pull", "push", "fetch", "convert"} & set(words) else self._comparable(done.stdout)
        )
        done.stderr = KIND.sub("", CHANCE.sub("", done.stderr)).replace(self.names["ID."], "ID.")
        return done

    def _comparable(self, text: str) -> str:
        """In no order, of lines and of what commas part, and without the daemon's own places and pids."""
        for name, meant in self.names.items():
            text = text.replace(meant, name)
        for pattern, put in OWN:
            text = pattern.sub(put, text)
        lines = (",".join(sorted(line.split(","))) for line in text.splitlines())
        return "\n".join(sorted(" ".join(line.split()) for line in lines))


def test_ctr_as_on_containerd(short_root: Path, tmp: Path, busybox: str):
    directory = Path(tempfile.mkdtemp(prefix="x-", dir=short_root))
    (directory / "a").mkdir()
    with Containerd(directory / "c").running(), running(directory / "a") as daemon:
        wait_until("the socket is there", (daemon.state / "containerd.sock").exists)
        sockets = {"ours": daemon.state / "containerd.sock", "them": directory / "c/c.sock"}
        pair = []
        for name, socket in sockets.items():
            (tmp / name).mkdir()
            images = {"IMAGE": busybox, "PUSHED": busybox.replace("busybox", "converted")}
            pair.append(Ctr(socket, {**images, "DIR": str(tmp / name), "ID.": f"{name}-{os.getpid()}."}))
        compare(*pair, STEPS)
