import os

import pytest

from transport.registry.throttle import SharedAccount, Throttle


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


def test_all_who_name_one_file_share_a_rate(tmp_path):
    clock = Clock()
    accounts = [SharedAccount(tmp_path / "bandwidth") for _ in range(3)]
    throttles = [Throttle(1000, one, wait=clock.wait, clock=lambda: clock.now) for one in accounts]
    for _ in range(10):
        for throttle in throttles:
            throttle.take(500)
    assert clock.now - 100 == pytest.approx(10 * 3 * 500 / 1000)


def test_processes_share_it_and_lose_nothing(tmp_path):
    """Each adds a hundred times a second to what the others have added."""
    path = tmp_path / "bandwidth"
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            for _ in range(100):
                SharedAccount(path).extend(50.0, 1.0)
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0, 0]
    assert SharedAccount(path).extend(50.0, 0.0) == pytest.approx(450.0)


@pytest.mark.parametrize("content", ["", "another-boot 99999.0\n", "nonsense", "\xff\x00 1"])
def test_what_was_before_the_boot_does_not_count(tmp_path, content):
    path = tmp_path / "bandwidth"
    path.write_text(content)
    assert SharedAccount(path).extend(10.0, 2.0) == 12.0
