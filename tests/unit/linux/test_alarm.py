"""A timer that a thread sleeps on."""

import select

from actors.linux.alarm import Alarm


def test_it_goes_off_once_for_each_time_that_it_was_set(no_leaks):
    alarm = Alarm(0.001)
    for _ in range(3):
        alarm.set()
        alarm.sleep()
    del alarm


def test_one_that_is_taken_back_wakes_nobody(no_leaks):
    alarm = Alarm(0.01)
    alarm.set()
    alarm.take_back()
    assert select.select([alarm._descriptor], [], [], 0.1)[0] == []
    alarm.set()
    alarm.sleep()
    del alarm
