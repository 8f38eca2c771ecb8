"""How long an actor waits before it sleeps."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from actors.sleeping import SHORT, Sleep, quiet_after


@pytest.mark.parametrize(("every", "naps"), [(15, 1), (60, 3), (200, 5), (1000, 200)])
def test_what_happens_often_keeps_it_awake_and_what_happens_seldom_does_not(every, naps):
    """A container that writes a line every so many seconds, two hundred of them."""
    quiet, slept = 10.0, 0
    for _ in range(200):
        if every > quiet:
            quiet = quiet_after(10.0, quiet, every - quiet)
            slept += 1
    assert slept == naps
    assert 10.0 <= quiet <= 10.0 * SHORT


def test_a_long_sleep_makes_good_for_short_ones():
    assert quiet_after(10.0, 160.0, 10.0 * SHORT) == 10.0
    assert quiet_after(10.0, 160.0, 1.0) == 300.0
    assert quiet_after(10.0, 300.0, 1.0) == 300.0


class _Actor(SimpleNamespace):
    """As much of a container's actor as its sleep needs; timers wait for the test."""

    def __init__(self) -> None:
        super().__init__(timers=[], said=[], save=lambda: None, is_idle=lambda: True, wakers=lambda: ["pid"])
        self.settings = SimpleNamespace(supervision_sleep_after=0.001)
        self.host = SimpleNamespace(pump=SimpleNamespace(lost=0, announce=lambda: None), say=self._say)

    def _say(self, **message: Any) -> bool:
        self.said.append(message)
        return True

    def later(self, _seconds: float, function: Any) -> None:
        self.timers.append(function)

    def ask(self, *_: Any, **__: Any) -> None:
        """The router has gone."""

    def time_passes(self) -> None:
        time.sleep(0.002)
        for function in self.timers[:]:
            function()


def test_it_does_not_lie_down_any_more_while_the_daemon_stops():
    """It had meant to, and would wait for a router and a zygote that go as well."""
    actor = _Actor()
    sleep = Sleep(actor)
    sleep.begin()
    sleep.bar()
    actor.time_passes()
    assert actor.said == []


def test_one_that_has_lain_down_when_the_daemon_stops_gets_up():
    actor = _Actor()
    sleep = Sleep(actor)
    sleep.begin()
    actor.time_passes()
    sleep.answered(held=True)
    sleep.bar()
    assert [message["keys"] for message in actor.said] == [["pid"], None]
