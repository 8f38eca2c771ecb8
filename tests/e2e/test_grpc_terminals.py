"""Terminals of containerd's clients: the death of the actor that has one in its hands changes nothing."""

from __future__ import annotations

import contextlib
import os
import select
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from daemon import Daemon
from gateway_api import Api, packed_spec, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
SECONDS: Final = 30.0
SHELL: Final = {"args": ["sh"], "cwd": "/", "env": ["PATH=/bin", "PS1=> "], "user": {"uid": 0, "gid": 0}}


@dataclass
class Typed:
    """What is typed into a terminal, and what it shows."""

    api: Api
    fields: dict[str, str]
    reader: int
    writer: int
    shown: bytes = b""

    def types(self, words: str) -> None:
        os.write(self.writer, words.encode() + b"\n")

    def shows(self, wanted: bytes) -> bool:
        """Whether this comes in the end."""
        while wanted not in self.shown and select.select([self.reader], [], [], SECONDS)[0]:
            self.shown += os.read(self.reader, 4096)
        return wanted in self.shown

    def has_size(self, rows: int, columns: int) -> bool:
        """Whether it takes a size and then has it."""
        self.api.task("ResizePty", **self.fields, height=rows, width=columns)
        self.types("stty size")
        return self.shows(f"{rows} {columns}".encode())


@contextlib.contextmanager
def fifos(directory: Path) -> Iterator[tuple[dict[str, str], int, int]]:
    """A client's, by name, and its ends."""
    names = {name: str(directory / name) for name in ("stdin", "stdout")}
    for path in names.values():
        os.mkfifo(path)
    ends = [os.open(names[name], os.O_RDWR) for name in ("stdout", "stdin")]
    try:
        yield names, ends[0], ends[1]
    finally:
        for end in ends:
            os.close(end)


@contextlib.contextmanager
def on_terminal(api: Api, root: Path, directory: Path, exec_id: str) -> Iterator[Typed]:
    """A shell on one: a container's first process, or an exec."""
    with fifos(directory) as (names, reader, writer):
        words = ("sleep", "1000") if exec_id else ("sh",)
        more: dict[str, Any] = {} if exec_id else {"terminal": True, "env": SHELL["env"]}
        name = api.container(root, *words, **more)
        fields = {"container_id": name, "exec_id": exec_id}
        api.task("Create", container_id=name, **({} if exec_id else {**names, "terminal": True}))
        if exec_id:
            api.task("Start", container_id=name)
            api.task("Exec", **fields, spec=packed_spec(SHELL, "Process"), terminal=True, **names)
        api.task("Start", **fields)
        yield Typed(api, fields, reader, writer)
        api.end(name)


@pytest.mark.parametrize("exec_id", ["", "typed"])
def test_a_terminal_is_the_same_when_its_actor_has_died(
    gateway: Daemon, api: Api, root: Path, tmp: Path, exec_id: str
):
    """A size that is given meanwhile is neither refused nor lost, and what is typed comes."""
    with on_terminal(api, root, tmp, exec_id) as typed:
        assert typed.shows(b"> ")
        for number in range(1, 6):
            gateway.kill_actor(f"container/default/{typed.fields['container_id']}")
            assert typed.has_size(20 + number, 70 + number)
        typed.types("exit 4")
        assert api.task("Wait", **typed.fields).exit_status == 4


@pytest.mark.parametrize("exec_id", ["", "typed"])
def test_a_terminal_on_its_way_to_an_actor_that_dies_arrives(root: Path, tmp: Path, exec_id: str):
    (tmp / "d").mkdir()
    with serving(tmp / "d", "--failpoints") as (daemon, api):
        daemon.actr("chaos", "set", "container.terminal.handed_over", "kill(count=1)")
        with on_terminal(api, root, tmp, exec_id) as typed:
            assert "ended with status 9" in daemon.log.read_text()
            assert typed.shows(b"> ")
            assert typed.has_size(44, 99)


def test_a_terminal_outlives_the_zygote_and_then_its_actor(root: Path, tmp: Path):
    """Each by itself: who is left hands it to who comes next."""
    (tmp / "d").mkdir()
    with serving(tmp / "d") as (daemon, api), on_terminal(api, root, tmp, "") as typed:
        assert typed.has_size(20, 70)
        assert daemon.process is not None
        daemon.process.kill()
        daemon.process.wait()
        daemon.start()
        assert typed.has_size(21, 71)
        daemon.kill_actor(f"container/default/{typed.fields['container_id']}")
        assert typed.has_size(22, 72)
