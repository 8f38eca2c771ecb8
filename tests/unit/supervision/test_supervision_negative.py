"""What went wrong elsewhere and must not here: the four negative cases of docs/supervision.md."""

import pytest
from simulated_world import CRASH, KILLED, SEGFAULT, dynamic, supervisor, worker, world

from actors.supervision import SHUTDOWN, Call, Exited, Kill, Spawned, Started, Terminate


def test_n1_unlimited_retries_do_not_spin():
    w = world(worker("a"), intensity=10**9, period=3600, habits={}).boot()
    w.habits["a"] = "crash"
    w.crash("a")
    w.advance(3600)
    assert w.exit is None
    assert len(w.started) < 3600 / 30 + 20
    del w.habits["a"]
    w.advance(30)
    assert w.states() == {"a": "running"}


def test_n1_a_start_that_always_fails_does_not_spin():
    w = world(dynamic(intensity=10**9, period=1)).boot()
    w.result("start_child", "pool", id="c")
    w.habits["c"] = "fork_fails"
    before = len(w.log)
    w.crash("c")
    w.advance(3600)
    assert len(w.log) - before < 3 * (3600 / 30 + 20)


def test_n2_a_reused_pid_does_not_hang_or_confuse():
    w = world(worker("a"), worker("b"), habits={"b": "lingering"}).boot()
    old = w.pid("a")
    w.next_pid = old - 1  # the kernel hands the number out again at once
    w.crash("a")
    assert w.pid("a") == old
    assert w.process("a").incarnation == 2
    assert w.send(Exited("a", old, 1, CRASH)) == []  # late news of the first owner of the number
    assert w.send(Started("a", old, 1)) == []
    w.send(Spawned("b", old, 1))  # and of another name: b's own pid is known
    assert w.pid("a") == old
    request = w.ask("terminate_child", id="a")
    assert request in w.answers
    assert Terminate("b", old) not in w.log
    w.shut_down()
    w.advance(5)
    assert w.exit == SHUTDOWN


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@pytest.mark.parametrize("when", ["running", "restarting", "between"])
def test_n3_flapping_does_not_undo_a_persons_stop(strategy, when):
    w = world(worker("x"), worker("a"), worker("b"), strategy=strategy, intensity=1000, period=1).boot()
    w.crash("a")
    if when != "running":
        w.crash("a")
    if when == "between":
        w.advance(0.05)
    w.result("terminate_child", id="a")
    for _ in range(5):  # its neighbours flap, and restart in groups
        w.crash("x")
        w.advance(60)
        w.crash("b")
        w.advance(60)
    assert w.states() == {"x": "running", "a": "undefined", "b": "running"}
    w.result("restart_child", id="a")
    assert w.states()["a"] == "running"


def test_n3_escalation_does_not_undo_a_persons_stop():
    w = world(supervisor("s", worker("s/a"), worker("s/b"), intensity=0), intensity=100).boot()
    w.result("terminate_child", "s", id="s/a")
    w.crash("s/b")
    assert w.states("s") == {"s/a": "undefined", "s/b": "running"}
    w.result("restart_child", "s", id="s/a")
    w.crash("s/b")
    w.advance(1)
    assert w.states("s") == {"s/a": "running", "s/b": "running"}


def test_n3_a_child_can_be_stopped_while_its_supervisor_waits_to_come_back():
    w = world(supervisor("s", worker("s/a"), intensity=0), intensity=100).boot()
    w.crash("s/a")
    w.crash("s/a")
    assert w.states() == {"s": "restarting"}
    w.result("terminate_child", "s", id="s/a")
    assert w.error("restart_child", "s", id="s/a") == "unavailable"
    assert w.error("start_child", "s", spec=worker("s/b")) == "unavailable"
    w.advance(60)
    assert w.states() == {"s": "running"}
    assert w.states("s") == {"s/a": "undefined"}


def test_n3_a_deleted_child_does_not_come_back():
    w = world(supervisor("s", worker("s/a"), worker("s/b"), intensity=0), intensity=100).boot()
    w.result("terminate_child", "s", id="s/a")
    w.result("delete_child", "s", id="s/a")
    w.crash("s/b")
    assert w.states("s") == {"s/b": "running"}
    assert w.result("start_child", spec=worker("s/a"))  # the name is free again


def test_n4_sigterm_ignored_while_starting_does_not_hang():
    w = world(habits={"a": "deaf_slow"}).boot()
    start = w.ask("start_child", spec=worker("a", shutdown=500))
    pid = w.pid("a")
    stop = w.ask("terminate_child", id="a")
    assert Terminate("a", pid) in w.log
    assert stop not in w.answers
    w.advance(0.5)
    assert Kill("a", pid) in w.log
    assert w.answers[start].code == "unavailable"
    assert w.answers[stop].result == {"id": "a"}
    assert w.states() == {"a": "undefined"}


def test_n4_shutdown_while_a_child_starts_and_ignores_sigterm():
    w = world(worker("a"), supervisor("s", worker("s/a", shutdown=500)), habits={"s/a": "deaf_slow"}).boot()
    w.shut_down()
    assert w.exit is None
    w.advance(0.5)
    assert w.ended == ["s/a", "a"]
    assert w.exit == SHUTDOWN


@pytest.mark.parametrize("shutdown", ["brutal_kill", 500])
def test_n4_a_stop_before_the_fork_is_acknowledged_reaches_the_process(shutdown):
    w = world(habits={"a": "deaf_slow"}).boot()
    w.send(Call("start", "start_child", {"supervisor": "root", "spec": worker("a", shutdown=shutdown)}))
    w.send(Call("stop", "terminate_child", {"supervisor": "root", "id": "a"}))
    assert not any(isinstance(e, Terminate | Kill) for e in w.log)  # there is no pid to signal yet
    w.settle()
    w.advance(0.5)
    assert not w.living
    assert w.states() == {"a": "undefined"}
    assert {"start", "stop"} <= set(w.answers)


@pytest.mark.parametrize("shutdown", ["brutal_kill", 200])
def test_a_supervisor_with_a_deadline_takes_all_below_it_down(shutdown):
    deep = supervisor("t", worker("t/a", shutdown="infinity"), dynamic("pool"))
    inner = supervisor("s", worker("s/a"), deep, worker("s/b"), shutdown=shutdown)
    w = world(worker("z"), inner).boot()
    w.habits = dict.fromkeys(["t/a", "s/b", "c"], "deaf")
    w.result("start_child", "pool", id="c")
    for name in ("t/a", "s/b"):
        w.process(name).habit = "deaf"
    w.shut_down()
    w.advance(0.2)
    assert w.exit == SHUTDOWN
    assert w.ended[-1] == "z"
    assert {r.reason for r in w.kinds("shutdown_error")} <= {KILLED}


def test_odd_answers_to_sigterm_are_reported():
    w = world(worker("a"), habits={"a": "odd"}).boot()
    w.result("terminate_child", id="a")
    assert [(r.child, r.context, r.reason) for r in w.kinds("shutdown_error")] == [
        ("a", "shutdown", SEGFAULT)
    ]


def test_a_job_that_ends_early_does_not_fail_its_supervisors_start():
    job = worker("s/job", "temporary", significant=True)
    inner = supervisor("s", job, worker("s/slow"), auto_shutdown="any_significant", restart="transient")
    w = world(inner, worker("b"), habits={"s/slow": "slow"}).boot()
    w.crash("s/job", SHUTDOWN)
    assert w.states() == {"s": "undefined", "b": "running"}
