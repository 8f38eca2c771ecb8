"""When the supervisor is started again, killed, or given up: decided without a clock."""

from __future__ import annotations

from actors.zygote.respawn import DUMP_LIMIT, STOP_LIMIT, Due, Respawn


def test_the_first_one_that_ends_is_followed_at_once_the_next_after_a_while():
    respawn = Respawn()
    assert not respawn.ended(9, 100.0)
    assert list(respawn.due(100.0)) == [Due.START]
    respawn.started()
    assert list(respawn.due(100.0)) == []
    assert not respawn.ended(9, 100.0)
    assert list(respawn.due(100.0)) == []
    assert list(respawn.due(100.1)) == [Due.START]
    respawn.started()
    respawn.up()
    respawn.ended(0, 200.0)  # in order, but nobody has asked for a stop
    assert list(respawn.due(200.0)) == [Due.START]


def test_one_that_hangs_writes_its_stacks_down_once_and_is_killed_then():
    respawn = Respawn()
    assert respawn.hangs(10.0)
    assert not respawn.hangs(10.5)
    assert list(respawn.due(10.0)) == []
    assert list(respawn.due(10.0 + DUMP_LIMIT)) == [Due.KILL]
    respawn.ended(9, 12.0)
    assert list(respawn.due(12.0)) == [Due.START]


def test_a_start_settles_what_was_meant_for_the_one_before():
    respawn = Respawn()
    respawn.ended(9, 10.0)
    respawn.hangs(10.0)
    done = []
    for due in respawn.due(20.0):
        done.append(due)
        respawn.started()
    assert done == [Due.START]


def test_a_stop_is_over_when_one_ends_in_order_or_when_it_takes_too_long():
    respawn = Respawn()
    respawn.stop(10.0)
    assert not respawn.ended(1, 11.0)
    assert list(respawn.due(11.0)) == [Due.START]
    respawn.started()
    assert respawn.ended(0, 12.0)
    assert list(respawn.due(10.0 + STOP_LIMIT)) == [Due.GIVE_UP]
    assert 10.0 + STOP_LIMIT in respawn.moments
