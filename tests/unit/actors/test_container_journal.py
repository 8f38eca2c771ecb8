"""The journal where there is no room for it: what follows on it waits, in order, and nothing is lost."""

from __future__ import annotations

import errno
import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors.container_journal import Journal
from actors.lifecycle import State
from actors.linux import plain_file

if TYPE_CHECKING:
    from pathlib import Path


class _Actor(SimpleNamespace):
    """What a journal uses of its actor; `timers` wait for the test."""

    def __init__(self, bundle: Path) -> None:
        part = SimpleNamespace(to_journal=dict)
        parts = dict.fromkeys(("execs", "health", "sleep", "reports"), part)
        super().__init__(bundle=bundle, state=State(), timers=[], log=logging.getLogger("test"), **parts)

    def later(self, _: float, function: Any) -> None:
        self.timers.append(function)

    def time_passes(self) -> None:
        timers, self.timers = self.timers, []
        for function in timers:
            function()


@pytest.fixture
def actor(tmp_path: Path) -> Any:
    return _Actor(tmp_path)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whether there is any, and what is said if there is none."""
    state = SimpleNamespace(left=True, error=errno.ENOSPC)
    write = plain_file.write

    def as_ever(path: str, content: bytes) -> None:
        if not state.left:
            raise OSError(state.error, "none")
        write(path, content)

    monkeypatch.setattr(plain_file, "write", as_ever)
    return state


def _runs(actor: Any) -> list[int]:
    return [json.loads(path.read_bytes())["state"]["run"] for path in actor.bundle.glob("*.json")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE])
def test_what_follows_waits_for_room_and_comes_in_its_order(actor: Any, room: Any, number: int):
    journal, done = Journal(actor), []
    room.left, room.error = False, number
    actor.state = State(run=1)
    journal.save(lambda: done.append("saved"))
    journal.when_saved(lambda: done.append("told"))
    actor.time_passes()
    actor.state = State(run=2)
    journal.save(lambda: done.append("saved again"))
    assert (journal.waits, done, _runs(actor), len(actor.timers)) == (True, [], [], 1)
    room.left = True
    actor.time_passes()
    assert (journal.waits, done, _runs(actor)) == (False, ["saved", "told", "saved again"], [2])
    assert actor.timers == []
    journal.save(lambda: done.append("at once"))
    assert done[-1] == "at once"


def test_what_finds_no_room_once_more_comes_before_what_waited_behind_it(actor: Any, room: Any):
    journal, done = Journal(actor), []
    room.left = False

    def another() -> None:
        room.left = False
        journal.save(lambda: done.append("another"))

    journal.save(another)
    journal.when_saved(lambda: done.append("behind"))
    room.left = True
    actor.time_passes()
    assert (journal.waits, done) == (True, [])
    room.left = True
    actor.time_passes()
    assert (journal.waits, done) == (False, ["another", "behind"])


def test_one_that_is_to_be_removed_does_not_wait(actor: Any, room: Any):
    """It may be what makes room."""
    journal, done = Journal(actor), []
    room.left = False
    journal.save(lambda: done.append("ended"))
    actor.state = State(remove=True)
    journal.go_on()
    journal.save(lambda: done.append("removing"))
    actor.time_passes()
    assert (journal.waits, done, actor.timers) == (False, ["ended", "removing"], [])


def test_what_does_not_pass_is_a_crash(actor: Any, room: Any):
    room.left, room.error = False, errno.EIO
    with pytest.raises(OSError, match="none"):
        Journal(actor).save(lambda: None)
