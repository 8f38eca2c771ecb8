"""Containers that are to stand still: those that do, and those that cannot or need not any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from journalled import at_once

from actors import lifecycle as life
from actors.control import Control
from actors.freezing import Freezing
from actors.lifecycle import Effect, State
from actors.linux import cgroups
from actors.linux.pidfd import Process
from storage.errors import UnavailableError
from transport.errors import RemoteError

if TYPE_CHECKING:
    from pathlib import Path

TOLD = ["save", "announce_turn", "report"]
NOBODY = Process(1 << 30, 1)


@pytest.fixture
def freezing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Freezing:
    """On a host that has only the controller of memory mounted."""
    layout = cgroups.Layout(cgroups.Kind.V1, tmp_path, (tmp_path,), {"memory": tmp_path})
    monkeypatch.setattr(cgroups, "mounted", lambda: layout)
    (tmp_path / "n/c").mkdir(parents=True)
    actor = SimpleNamespace(
        state=State("running", run=1),
        bundle=tmp_path / "n/c",
        later=lambda *_: None,
        record={"name": "web"},
    )

    def work(function: Any, then: Any) -> None:
        try:
            then(function())
        except OSError as error:
            then(error)

    actor.work = work
    return Freezing(actor)  # type: ignore[arg-type]


def test_whoever_wants_it_frozen_hears_why_it_cannot_be(freezing: Freezing):
    heard: list[Any] = []
    freezing.freeze(5.0, SimpleNamespace(settle=heard.append))  # type: ignore[arg-type]
    (error,) = heard
    assert isinstance(error, RemoteError)
    assert "no freezer is mounted" in str(error)
    assert freezing.is_idle()


def test_a_new_incarnation_thaws_what_could_not_be_frozen(freezing: Freezing):
    freezing.thaw()
    assert freezing.is_idle()


def test_a_cgroup_that_goes_while_it_is_frozen_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    layout = cgroups.Layout(cgroups.Kind.V1, tmp_path, (tmp_path,), {"freezer": tmp_path})
    (tmp_path / "a").mkdir()
    (tmp_path / "a/freezer.state").touch()
    monkeypatch.setattr("actors.linux.cgroups.time.sleep", lambda _: (tmp_path / "a/freezer.state").unlink())
    monkeypatch.setattr("actors.linux.cgroups.Path.write_text", lambda *_: None)
    assert cgroups.freeze(layout, "/a", frozen=True, wait=60.0)


class _Paused:
    """A container whose processes stand still when the test says so; what is worked on waits for it, too."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cgroup = place / "n/c"
        self.cgroup.mkdir(parents=True)
        self.stands(still=False)
        layout = cgroups.Layout(cgroups.Kind.V2, place, (place,), {})
        monkeypatch.setattr(cgroups, "mounted", lambda: layout)
        monkeypatch.setattr("actors.freezing.actual_cgroups_path", lambda _: "/n/c")
        monkeypatch.setattr("actors.freezing.WAIT", -1.0)
        pid, start = NOBODY.pid, NOBODY.start_time
        self.state = State("running", run=1, pid=pid, start_time=start)
        self.bundle, self.record = place, {"name": "web"}
        self.jobs: list[tuple[Any, Any]] = []
        self.told: list[str] = []
        self.freezing = Freezing(self)  # type: ignore[arg-type]
        self.control = Control(self)  # type: ignore[arg-type]

    def stands(self, *, still: bool) -> None:
        (self.cgroup / "cgroup.events").write_text(f"populated 1\nfrozen {int(still)}\n")

    def wanted(self) -> str:
        return (self.cgroup / "cgroup.freeze").read_text()

    when_saved = staticmethod(at_once)

    def happened(self, fact: life.Fact) -> None:
        self.state, effects = life.decide(self.state, fact)
        self.told += [
            effect.word for effect in effects if effect in (Effect.ANNOUNCE_TURN, Effect.REPORT, Effect.SAVE)
        ]

    def refuse_unless_running(self) -> None:
        if self.state.phase != "running":
            raise RemoteError("failed_precondition", "container web is not running")

    def work(self, function: Any, then: Any) -> None:
        self.jobs.append((function, then))

    def comes_back(self, number: int = 0) -> None:
        function, then = self.jobs.pop(number)
        try:
            result = function()
        except (OSError, UnavailableError, RemoteError) as error:
            result = error
        then(result)

    def pause(self, *, paused: bool = True) -> list[Any]:
        heard: list[Any] = []
        self.control.pause(SimpleNamespace(settle=heard.append), paused=paused)  # type: ignore[arg-type]
        return heard


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Paused:
    return _Paused(tmp_path, monkeypatch)


def test_a_pause_is_told_once_all_stand_still(container: _Paused):
    heard = container.pause()
    assert (container.state.paused, container.told) == (True, ["save"]), "it is journalled first"
    container.stands(still=True)
    container.comes_back()
    assert (heard, container.told) == ([None], ["save", *TOLD])
    assert container.state.stands


def test_a_pause_that_does_not_come_about_is_not_on_record_and_freezes_nothing(container: _Paused):
    heard = container.pause()
    container.comes_back()
    assert [error.code for error in heard] == ["unavailable"]
    assert (container.state.paused, container.state.stands, container.wanted()) == (False, False, "0")
    assert "announce_turn" not in container.told


def test_what_was_wanted_last_is_so_whichever_thread_comes_last(container: _Paused):
    """A pause and a resume at the same time: the thread of the pause came second, and froze it for good."""
    paused, resumed = container.pause(), container.pause(paused=False)
    container.comes_back(1)
    container.comes_back()
    assert (container.wanted(), container.state.paused) == ("0", False)
    assert (resumed, "announce_turn" in container.told) == ([None], False), "nor was a pause told"
    assert [error.code for error in paused] == ["failed_precondition"]


def test_one_that_is_killed_while_it_is_being_paused_goes_on_to_its_end(container: _Paused):
    container.pause()
    container.control.let_go()
    container.comes_back()
    assert container.wanted() == "0"


def test_a_pause_of_one_that_ends_meanwhile_is_told_so(container: _Paused):
    heard = container.pause()
    container.happened(life.Exited(0, 5))
    container.comes_back()
    assert [str(error) for error in heard] == ["container web is not running"]
    assert "announce_turn" not in container.told


def test_a_new_incarnation_brings_a_pause_about_without_waiting_for_it(container: _Paused):
    """In the actor's thread; an error there would end it, time and again."""
    container.happened(life.Pause(paused=True))
    container.freezing.thaw()
    assert container.wanted() == "1"


def test_the_next_run_does_not_stand_still_for_whoever_wanted_that_of_the_last(container: _Paused):
    container.later = lambda *_: None
    container.freezing.freeze(30.0, SimpleNamespace(settle=lambda _: None))  # type: ignore[arg-type]
    assert not container.freezing.is_idle()
    container.freezing.end()
    container.pause()
    container.pause(paused=False)
    container.comes_back(1)
    assert container.wanted() == "0"


def test_one_that_has_been_killed_is_not_frozen_any_more(container: _Paused):
    """Its commit would have renewed that, and SIGKILL waited for the commit (version 1)."""
    container.later = lambda *_: None
    call = SimpleNamespace(settle=lambda _: None)
    container.freezing.freeze(30.0, call)  # type: ignore[arg-type]
    container.control.kill(NOBODY)
    assert (container.freezing.is_idle(), container.wanted()) == (True, "0")
    with pytest.raises(RemoteError, match="container web is being ended"):
        container.freezing.freeze(30.0, call)  # type: ignore[arg-type]
    container.freezing.end()
    container.freezing.freeze(30.0, call)  # type: ignore[arg-type]


def test_one_that_is_being_stopped_is_not_frozen_either(container: _Paused):
    container.happened(life.Stop())
    with pytest.raises(RemoteError, match="container web is being ended"):
        container.freezing.freeze(30.0, SimpleNamespace())  # type: ignore[arg-type]


def test_the_time_to_stop_of_an_earlier_run_lets_nobody_go_on_who_is_paused(container: _Paused):
    """It had ended before, and was started anew and paused: ten seconds later it went on by itself."""
    timers: list[Any] = []
    container.later = lambda _, function: timers.append(function)
    container.control.signal_to_stop(10.0)
    container.happened(life.Exited(0, 5))
    container.state = State("running", run=2, pid=NOBODY.pid, start_time=NOBODY.start_time + 1)
    container.pause()
    timers.pop()()
    assert container.state.paused


@pytest.mark.parametrize("paused", [True, False])
def test_the_next_incarnation_goes_on_with_a_turn_and_tells_of_it(container: _Paused, paused: bool):
    """Whoever was killed between the freezing and the telling left nobody who would tell."""
    container.state = life.replace(container.state, paused=paused, stands=not paused, turned_at=7)
    after, effects = life.decide(container.state, life.Loaded(start=True))
    assert (after, [Effect.ANNOUNCE_TURN, Effect.FOLLOW]) == (container.state, [*effects[3:]])
    container.stands(still=paused)
    container.control.follow_again()
    container.comes_back()
    assert (container.told, container.state.stands) == (TOLD, paused)
    assert life.decide(container.state, life.Loaded(start=True))[1][3:] == (Effect.ANNOUNCE_TURN,)


def _freeze(container: _Paused, holder: str, *, again: bool = False) -> None:
    container.later = lambda *_: None
    call = SimpleNamespace(settle=lambda _: None)
    container.freezing.freeze(30.0, call, holder, again=again)  # type: ignore[arg-type]


def test_it_stands_still_until_the_last_who_wants_that_lets_go(container: _Paused):
    """Of two commits at the same time, the end of one let the container go on under the other."""
    for holder in ("one", "two"):
        _freeze(container, holder)
        container.stands(still=True)
        container.comes_back()
    container.freezing.let_go("one")
    assert container.wanted() == "1"
    container.freezing.let_go("two")
    assert container.wanted() == "0"


def test_whoever_took_it_for_standing_still_hears_that_it_has_gone_on(container: _Paused):
    """Its actor has died, or the renewal come too late: the image was of two moments, and nobody knew."""
    _freeze(container, "one")
    _freeze(container, "one", again=True)
    container.freezing.thaw()
    with pytest.raises(RemoteError, match="container web has gone on meanwhile"):
        _freeze(container, "one", again=True)
