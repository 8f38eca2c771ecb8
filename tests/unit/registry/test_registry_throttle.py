import pytest

from transport.registry.throttle import Throttle


class Clock:
    """Time that passes only by waiting."""

    def __init__(self):
        self.now = 100.0

    def wait(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("piece", [1, 1000, 64_000])
def test_the_rate_is_kept_whatever_the_pieces(piece):
    clock = Clock()
    throttle = Throttle(10_000, wait=clock.wait, clock=lambda: clock.now)
    for _ in range(100_000 // piece + 1):
        throttle.take(piece)
    taken = (100_000 // piece + 1) * piece
    assert clock.now - 100 == pytest.approx(taken / 10_000, abs=0.02)


def test_a_pause_is_no_credit():
    clock = Clock()
    throttle = Throttle(1000, wait=clock.wait, clock=lambda: clock.now)
    throttle.take(1000)
    clock.now += 60
    before = clock.now
    throttle.take(2000)
    assert clock.now - before == pytest.approx(2)


def test_no_limit_never_waits():
    Throttle(0, wait=lambda _: pytest.fail("waited")).take(1 << 40)
