"""How long an actor waits before it sleeps."""

from __future__ import annotations

import pytest

from actors.sleeping import SHORT, quiet_after


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
