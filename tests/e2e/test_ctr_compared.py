"""Debian's ctr on actord: each command as on Debian's containerd; and none is forgotten."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import ctr_content
import ctr_runs
import ctr_steps
import pytest
from archives import Containerd
from ctr_client import Ctr, digests_of
from daemon import CHECKOUT, running, wait_until

from session import compare

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]
STEPS = (*ctr_steps.STEPS, *ctr_content.STEPS, *ctr_runs.STEPS)
LIST = CHECKOUT / "docs/containerd.md"


def test_ctr_as_on_containerd(short_root: Path, tmp: Path, busybox: str):
    directory = Path(tempfile.mkdtemp(prefix="x-", dir=short_root))
    (directory / "a").mkdir()
    with Containerd(directory / "c").running(), running(directory / "a") as daemon:
        wait_until("the socket is there", (daemon.state / "containerd.sock").exists)
        sockets = {"ours": daemon.state / "containerd.sock", "them": directory / "c/c.sock"}
        parts, pair = digests_of(busybox), []
        for name, socket in sockets.items():
            (tmp / name).mkdir()
            images = {"IMAGE": busybox, "PUSHED": busybox.replace("busybox", f"pushed-{name}"), **parts}
            images["OBJECTS"] = busybox.replace("busybox", f"objects-{name}")
            pair.append(Ctr(socket, {**images, "DIR": str(tmp / name), "ID.": f"{name}-{os.getpid()}."}))
        compare(*pair, STEPS)


def test_every_command_of_ctr_is_compared_or_it_is_said_why_not():
    """The list is in docs/containerd.md."""
    listed = dict(re.findall(r"^\| `([a-z][a-z -]*)` \| (.*?) *\|$", LIST.read_text(), re.MULTILINE))
    assert sorted(listed) == sorted(_commands())
    compared = {name for name, said in listed.items() if said.startswith("compared")}
    named = {re.split(":| -", step.name)[0] for step in STEPS}
    assert compared <= {long for name in named for long in _spelled_out(name)}
    assert all(said.startswith(("compared", "not compared: ")) for said in listed.values())


def _spelled_out(name: str) -> tuple[str, ...]:
    """As the help has it first; steps are named as people type."""
    for short, words in (("ls", ("list",)), ("rm", ("delete", "remove"))):
        if name.endswith(f" {short}"):
            return tuple(name.removesuffix(short) + word for word in words)
    return (name,)


def _commands(*before: str) -> list[str]:
    """Each command that ctr's help names, with the words before it."""
    said = subprocess.run(["ctr", *before, "--help"], capture_output=True, text=True, check=True).stdout
    section = said.partition("COMMANDS:\n")[2].partition("\nOPTIONS")[0].partition("\n\n")[0]
    names = re.findall(r"^ {3}([a-z-]+)[, ]", section, re.MULTILINE)
    found = [path for name in names if name != "help" for path in _commands(*before, name)]
    return found or [" ".join(before)]
