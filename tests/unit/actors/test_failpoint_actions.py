"""Failpoints: what is written, how often it happens, and that nothing happens where they are off."""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from forked import Forked
from hypothesis import given
from hypothesis import strategies as st

from actors import failpoints
from actors.failpoints import MAX_POINTS, Action, FailpointError, Failpoints, parse_action, parse_points
from transport.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "metadata.images.put.before"


@pytest.fixture
def points(tmp_path: Path) -> Failpoints:
    return Failpoints(tmp_path / "counts")


@pytest.fixture
def _restored() -> Iterator[None]:
    before = failpoints.hit, failpoints.active
    yield
    failpoints.hit, failpoints.active = before


def _set(points: Failpoints, action: str, *, shared: bool = False) -> None:
    points.set(NAME, parse_action(action), shared=shared)


def _times(points: Failpoints, tries: int) -> list[bool]:
    """Which of so many visits have their answer dropped."""
    return [points.hit(*NAME.split(".")) == 0 for _ in range(tries)]


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("off", Action("off")),
        ("error", Action("error")),
        ("error(unavailable)", Action("error", "unavailable")),
        ("error(ENOSPC,count=2)", Action("error", "ENOSPC", 2)),
        ("delay(50,p=0.3,seed=7)", Action("delay", "50", 0, 0.3, 7)),
        ("delay(0.5)", Action("delay", "0.5")),
        ("hang", Action("hang")),
        ("hang(GIL)", Action("hang", "GIL")),
        ("kill(count=1)", Action("kill", "", 1)),
        (" drop-reply( count = 3 ) ", Action("drop-reply", "", 3)),
        ("double-reply(count=1)", Action("double-reply", "", 1)),
        ("clock(-3600,count=1)", Action("clock", "-3600", 1)),
    ],
)
def test_an_action_is_read_as_it_is_written(text: str, action: Action):
    assert parse_action(text) == action
    assert parse_action(str(action)) == action


@pytest.mark.parametrize(
    "text",
    ["", "explode", "KILL", "kill(", "kill(1)", "kill(count=x)", "kill(count=-1)", "kill(count=1,count=2)",
     "delay", "delay(-1)", "delay(x)", "delay(9e9)", "delay(1,2)", "error(nonsense)", "error(EWHAT)",
     "off(p=1.1)", "off(p=-0.1)", "off(p=nan)", "off(wrong=1)", "off(seed=)"],
)  # fmt: skip
def test_an_action_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(FailpointError, match="failpoint"):
        parse_action(text)


def test_the_environment_sets_several():
    found = parse_points(f" {NAME}=kill(count=1); a.b=delay(5,p=0.5,seed=1) ;;")
    assert found == {NAME: Action("kill", "", 1), "a.b": Action("delay", "5", 0, 0.5, 1)}


@pytest.mark.parametrize("text", ["kill", "A.b=kill", "=kill", "a b=kill", "a/b=off", f"{'a' * 101}=off"])
def test_a_name_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(FailpointError):
        parse_points(text)


@given(st.text(max_size=40))
def test_whatever_is_written_is_read_or_refused(text: str):
    try:
        assert parse_action(text)
    except FailpointError:
        return


def test_every_place_that_is_passed_is_counted(points: Failpoints):
    points.hit("b", "c")
    points.hit("a")
    points.hit("b", "c")
    _set(points, "delay(5)")
    assert points.described() == [
        {"name": "a", "passed": 1, "action": "off"},
        {"name": "b.c", "passed": 2, "action": "off"},
        {"name": NAME, "passed": 0, "action": "delay(5)"},
    ]


def test_asking_for_failpoints_is_no_place(points: Failpoints):
    points.hit("metadata", "failpoints.list", "before")
    assert points.described() == []


def test_a_count_is_used_up(points: Failpoints):
    _set(points, "drop-reply(count=2)")
    assert _times(points, 5) == [True, True, False, False, False]
    _set(points, "drop-reply(count=1)")  # set anew, it counts anew
    assert _times(points, 2) == [True, False]
    _set(points, "off")
    assert _times(points, 2) == [False, False]


def test_a_shared_count_goes_for_all_processes_together(points: Failpoints):
    _set(points, "kill(count=2)", shared=True)
    codes = []
    for _ in range(4):
        with Forked(lambda: points.hit(*NAME.split("."))) as child:
            codes.append(child.wait())
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0, 0]


def test_a_new_daemon_forgets_what_the_last_one_counted(tmp_path: Path):
    for _ in range(2):
        points = Failpoints(tmp_path / "counts")
        _set(points, "drop-reply(count=1)", shared=True)
        assert _times(points, 2) == [True, False]


def test_chance_is_repeatable_and_about_as_often_as_it_says(tmp_path: Path):
    runs = []
    for actor in ("content/1", "content/1", "content/2"):
        points = Failpoints(tmp_path / "counts", actor)
        _set(points, "drop-reply(p=0.3,seed=7)")
        runs.append(_times(points, 1000))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert 230 < sum(runs[0]) < 370


def test_never_is_never_and_always_is_always(points: Failpoints):
    _set(points, "drop-reply(p=0)")
    assert not any(_times(points, 100))
    _set(points, "drop-reply(p=1)")
    assert all(_times(points, 100))


def test_an_error_of_the_protocol_or_of_the_system(points: Failpoints):
    _set(points, "error(overloaded)")
    with pytest.raises(RemoteError, match=NAME) as refused:
        _times(points, 1)
    assert refused.value.code == "overloaded"
    _set(points, "error")
    with pytest.raises(RemoteError) as refused:
        _times(points, 1)
    assert refused.value.code == "internal"
    _set(points, "error(ENOSPC)")
    with pytest.raises(OSError, match=NAME) as failed:
        _times(points, 1)
    assert failed.value.errno == errno.ENOSPC


def test_an_answer_is_sent_twice(points: Failpoints):
    _set(points, "double-reply(count=1)")
    assert [points.hit(*NAME.split(".")) for _ in range(3)] == [2, 1, 1]


def test_a_clock_jumps_and_is_set_right_again(points: Failpoints):
    def jump() -> None:
        before, true = time.time_ns(), time.monotonic_ns()
        _set(points, "clock(-3600)")
        _times(points, 1)
        back = before - time.time_ns()
        _set(points, "clock(0)")
        _times(points, 1)
        passed = time.time_ns() - before, time.monotonic_ns() - true
        right = 3590e9 < back <= 3600e9 and abs(passed[0] - passed[1]) < 10e9
        os._exit(0 if right else 1)

    with Forked(jump) as child:
        assert child.wait() == 0


@pytest.mark.parametrize("jump", ["", "soon", "1.5", "99999999999"])
def test_a_jump_is_a_bearable_number_of_seconds(jump: str):
    with pytest.raises(FailpointError, match="clock"):
        parse_action(f"clock({jump})")


def test_a_delay_lasts(points: Failpoints):
    _set(points, "delay(20)")
    before = time.monotonic()
    assert _times(points, 1) == [False]
    assert time.monotonic() - before >= 0.02


def test_a_hang_does_not_end(points: Failpoints, tmp_path: Path):
    _set(points, "hang")
    begun = tmp_path / "begun"

    def hang() -> None:
        begun.touch()
        points.hit(*NAME.split("."))

    with Forked(hang) as child:
        while not begun.exists():
            os.sched_yield()
        assert os.waitpid(child.pid, os.WNOHANG) == (0, 0)
        assert child.end() == -signal.SIGKILL


def test_the_number_of_points_is_bounded(points: Failpoints):
    for number in range(MAX_POINTS):
        points.set(f"a.p{number}", Action("off"))
    points.set("a.p0", Action("kill"))
    with pytest.raises(FailpointError, match=str(MAX_POINTS)):
        points.set("a.another", Action("off"))


def test_off_means_that_nothing_happens():
    assert failpoints.active is None
    assert failpoints.hit("metadata", "images.put", "reply") == 1


@pytest.mark.usefixtures("_restored")
def test_the_environment_enables_them_for_every_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(failpoints.VARIABLE, "container.save.before=kill")
    failpoints.enable_from_environment(tmp_path / "counts")
    failpoints.hit("zygote", "spawn", "before")
    with Forked(lambda: _as_actor(tmp_path)) as child:
        assert child.wait() == -signal.SIGKILL
    assert (tmp_path / "passed").read_text() == "container/default/x/1 []"


def _as_actor(tmp_path: Path) -> None:
    failpoints.begin("container/default/x/1")
    active = failpoints.active
    assert active is not None
    (tmp_path / "passed").write_text(f"{active.actor} {list(active.passed)}")
    failpoints.hit("container", "save", "before")
