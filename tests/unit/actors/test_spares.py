"""Children that were forked in advance: how many wait, who is taken, and that all of them end."""

from __future__ import annotations

import os
import signal

import pytest

from actors.linux import process
from actors.zygote.control import Closed, pair
from actors.zygote.spares import PAUSE, SIZE, Spare, Spares


class Forks:
    """Forks what waits for a word, as a spare does."""

    def __init__(self):
        self.pages = []
        self.refuses = False

    def __call__(self, pages):
        if self.refuses:
            raise OSError("no more")
        self.pages.append(list(pages))
        ours, theirs = pair()
        pid = os.fork()
        if pid == 0:
            process.close_descriptors_except([0, 1, 2, theirs.fileno()])
            try:
                theirs.receive()
            except Closed:
                os._exit(0)
            os._exit(1)
        theirs.close()
        return Spare(pid, ours)


@pytest.fixture
def forks():
    return Forks()


@pytest.fixture
def spares(forks):
    made = Spares(forks)
    yield made
    made.end()


def wait_for_all(spares, now=0.0):
    """Let time pass until nobody is due any more; how many were forked."""
    count = 0
    while spares.due:
        now = spares.due
        spares.look(now)
        count += 1
        assert count < 10
    return count


def end(spare):
    spare.control.close()
    os.waitpid(spare.pid, 0)


def test_nobody_waits_before_it_is_time(spares, forks):
    taken = spares.take(1.0)
    assert (spares.due, len(forks.pages)) == (0.0, 1)
    spares.look(100.0)
    assert len(forks.pages) == 1
    end(taken)


def test_one_is_replaced_as_soon_as_a_run_has_ended(spares, forks):
    spares.idle(0.5)
    assert not spares.due
    spares.begin(1.0)
    assert wait_for_all(spares) == SIZE
    taken = spares.take(5.0)
    spares.idle(5.03)
    assert spares.due == 5.03
    assert wait_for_all(spares) == 1
    spares.idle(6.0)
    assert not spares.due
    end(taken)


def test_to_begin_once_more_forks_none_where_enough_wait(spares, forks):
    """As when a supervisor that was started again says that everything is up."""
    spares.begin(1.0)
    assert wait_for_all(spares) == SIZE
    spares.begin(9.0)
    wait_for_all(spares)
    assert len(forks.pages) == SIZE
    end(spares.take(10.0))
    spares.begin(10.05)
    assert wait_for_all(spares) == 1


def test_those_taken_are_replaced_a_moment_later(spares, forks):
    spares.begin(1.0)
    assert wait_for_all(spares) == SIZE
    taken = [spares.take(5.0), spares.take(5.05)]
    assert spares.due == 5.0 + PAUSE
    spares.look(5.09)
    assert len(forks.pages) == SIZE
    assert len({one.pid for one in taken}) == SIZE
    assert wait_for_all(spares) == SIZE
    assert len(forks.pages) == 2 * SIZE
    for one in taken:
        end(one)


def test_one_is_forked_at_once_when_none_waits(spares, forks):
    spares.begin(1.0)
    taken = spares.take(1.0)
    assert forks.pages == [[]]
    end(taken)


def test_what_was_learnt_first_is_what_later_ones_write_to(spares, forks):
    assert spares.curious
    spares.learn([[1, 2], [9, 1]])
    spares.learn([[3, 4]])
    assert not spares.curious
    spares.begin(1.0)
    wait_for_all(spares)
    assert forks.pages == [[(1, 2), (9, 1)]] * SIZE
    with pytest.raises(ValueError, match="unpack"):
        Spares(forks).learn([[1, 2, 3]])


def test_one_that_has_ended_is_known_once_and_taken_no_more(spares, forks):
    spares.begin(1.0)
    wait_for_all(spares)
    first, second = list(spares._waiting)
    os.kill(first.pid, 9)
    os.waitpid(first.pid, 0)
    assert spares.ended(first.pid)
    assert not spares.ended(first.pid)
    assert spares.take(9.0) == second
    end(second)


def test_those_sent_away_end_and_others_take_their_places(spares, forks):
    spares.begin(1.0)
    wait_for_all(spares)
    away = [spare.pid for spare in spares._waiting]
    spares.dismiss(5.0)
    for pid in away:
        os.waitpid(pid, 0)
        assert spares.ended(pid)
    assert wait_for_all(spares) == SIZE


def test_where_none_can_be_forked_it_is_tried_with_the_next_start(spares, forks):
    forks.refuses = True
    spares.begin(1.0)
    spares.look(2.0)
    assert not spares.due
    with pytest.raises(OSError, match="no more"):
        spares.take(3.0)
    forks.refuses = False
    assert wait_for_all(spares) == SIZE


def test_at_the_end_none_is_left(spares, forks):
    spares.begin(1.0)
    wait_for_all(spares)
    pids = [spare.pid for spare in spares._waiting]
    spares.end()
    for pid in pids:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, 0)


def test_one_that_is_stopped_holds_up_no_end(spares, forks):
    spares.begin(1.0)
    wait_for_all(spares)
    stopped = spares._waiting[0].pid
    os.kill(stopped, signal.SIGSTOP)
    os.waitpid(stopped, os.WUNTRACED)
    spares.end()
    with pytest.raises(ChildProcessError):
        os.waitpid(stopped, 0)
