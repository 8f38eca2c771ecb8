"""Behaviour 44 of docs/supervision.md: a child without anything to do sleeps, which is no crash."""

import pytest
from simulated_world import CRASH, KILLED, adopt, dynamic, supervisor, worker, world

from actors.supervision import Boot, Slept, Woken, new_tree


def pool(*names):
    w = world(worker("a"), dynamic(template=worker("template", "transient"), intensity=2)).boot()
    for name in names:
        w.result("start_child", "pool", id=name)
    return w


def replaced(w, owner):
    """The supervisor's process was killed; the zygote tells the next one who lives and who sleeps."""
    known = dict(w.tree.incarnations)
    w.pending.clear()
    w.timers.clear()
    w.tree = new_tree(w.tree.root.spec, lambda: 0.0)
    for process in list(w.living.values()):
        w.send(adopt(process, owner))
    for process in w.sleeping.values():
        w.send(adopt(process, owner, asleep=True))
    w.started.clear()
    return known


def test_b44_a_child_sleeps_and_is_woken_without_any_report_of_an_end():
    w = pool("c")
    w.sleep("c")
    assert w.states("pool") == {"c": "asleep"}
    assert w.counts("pool") == (1, 0, 0, 1)
    for _ in range(20):  # far more often than it may be restarted
        w.wake("c")
        assert w.states("pool") == {"c": "running"}
        w.sleep("c")
    assert w.names() == ["a"]
    assert {one.kind for one in w.reports} == {"progress"}
    w.wake("c")
    assert w.process("c").incarnation == 22


def test_b44_only_one_that_sleeps_is_woken():
    w = pool("c")
    before = w.pid("c")
    for name in ("c", "pool", "root", "nobody"):
        w.wake(name)
    assert w.pid("c") == before
    w.sleep("c")
    w.habits["c"] = "slow"
    w.wake("c")
    w.wake("c")
    assert w.states("pool") == {"c": "starting"}
    assert len(w.living) == 2


def test_b44_one_that_fails_to_wake_is_tried_again():
    w = pool("c")
    w.sleep("c")
    w.habits["c"] = "fail"
    w.wake("c")
    w.habits["c"] = "ready"
    w.advance(5)
    assert w.states("pool") == {"c": "running"}


def test_b44_it_was_there_all_the_time_for_whoever_wants_it_started():
    w = pool("c")
    w.sleep("c")
    assert w.error("start_child", "pool", id="c") == "already_started"
    assert w.error("restart_child", "pool", id="c") == "running"
    assert w.states("pool") == {"c": "asleep"}


def test_b44_one_that_is_stopped_while_it_falls_asleep_has_ended():
    w = pool("c", "d")
    w.habits["c"] = "lingering"
    process = w.process("c")
    process.habit = "lingering"
    number = w.ask("terminate_child", "pool", id="c")
    w.fall_asleep(process)
    w.settle()
    assert w.answers[number].result == {"id": "c"}
    assert w.states("pool") == {"d": "running"}
    w.sleep("d")
    assert w.result("terminate_child", "pool", id="d") == {"id": "d"}
    assert w.states("pool") == {}
    w.wake("d")
    assert w.names() == ["a"]


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
def test_b44_a_tree_with_sleepers_stops_and_its_groups_restart(strategy):
    w = world(worker("a"), worker("b"), worker("c"), strategy=strategy).boot()
    w.sleep("b")
    w.crash("a")
    assert w.states() == {
        "a": "running",
        "b": "asleep" if strategy == "one_for_one" else "running",
        "c": "running",
    }
    w.sleep("c")
    w.shut_down()
    assert w.exit is not None
    assert not w.living


def test_b44_the_next_supervisor_takes_over_who_sleeps():
    w = pool("c", "d")
    w.sleep("c")
    w.send(Boot(replaced(w, "pool")))
    w.settle()
    assert w.states("pool") == {"d": "running", "c": "asleep"}
    assert w.started == []
    w.wake("c")
    assert (w.states("pool")["c"], w.process("c").incarnation) == ("running", 2)


def test_b44_one_that_is_wanted_before_it_was_claimed_is_not_taken_for_asleep():
    w = pool("c")
    w.sleep("c")
    known = replaced(w, "pool")
    w.send(Woken("c"))
    w.send(Boot(known))
    w.settle()
    assert w.states("pool") == {}  # and so started, like whoever is on record and not there
    w.result("start_child", "pool", id="c")
    assert w.process("c").incarnation == 2


def test_b44_one_that_falls_asleep_before_it_was_claimed_is_asleep():
    w = pool("c")
    known, process = replaced(w, "pool"), w.process("c")
    w.fall_asleep(process)
    w.settle()
    w.send(Boot(known))
    assert w.states("pool") == {"c": "asleep"}


def test_b44_a_static_child_that_slept_through_the_supervisors_death_is_started():
    w = world(worker("a"), supervisor("s", worker("s/a"))).boot()
    w.sleep("s/a")
    w.send(Boot(replaced(w, "s")))
    w.settle()
    assert w.states("s") == {"s/a": "running"}


def test_b44_late_words_of_another_incarnation_change_nothing():
    w = pool("c")
    first = w.process("c")
    w.crash("c", KILLED)
    w.send(Slept("c", first.pid, first.incarnation))
    assert w.states("pool") == {"c": "running"}
    w.sleep("c")
    w.crash("a", CRASH)
    assert w.states("pool") == {"c": "asleep"}
