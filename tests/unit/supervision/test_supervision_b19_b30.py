"""Behaviours 19 to 30 of docs/supervision.md: restarts, budget, back-off, groups."""

import pytest
from simulated_world import CRASH, KILLED, SEGFAULT, supervisor, worker, world

from actors.supervision import NORMAL, SHUTDOWN, Exited, ExitReason, SetTimer, SupervisorFlags, TimerFired
from actors.supervision.restarting import backoff

REASONS = [NORMAL, SHUTDOWN, CRASH, KILLED]


@pytest.mark.parametrize("reason", REASONS)
def test_b19_a_permanent_child_restarts_whatever_the_reason(reason):
    w = world(worker("a")).boot()
    w.crash("a", reason)
    assert w.process("a").incarnation == 2
    assert [r.reason for r in w.kinds("child_terminated")] == [reason]


@pytest.mark.parametrize("reason", REASONS)
def test_b20_a_transient_child_restarts_after_abnormal_exits_only(reason):
    w = world(worker("a", "transient")).boot()
    w.crash("a", reason)
    assert w.states() == {"a": "running" if reason.abnormal else "undefined"}
    assert len(w.kinds("child_terminated")) == int(reason.abnormal)


@pytest.mark.parametrize("reason", REASONS)
def test_b21_a_temporary_child_never_restarts(reason):
    w = world(worker("a", "temporary"), worker("b")).boot()
    w.crash("a", reason)
    w.advance(100)
    assert w.states() == {"b": "running"}
    assert w.started == ["a", "b"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_b22_a_temporary_bystander_is_not_restarted_by_a_group(strategy):
    w = world(worker("a"), worker("b", "temporary"), worker("c"), strategy=strategy).boot()
    w.crash("a")
    assert w.states() == {"a": "running", "c": "running"}
    assert w.started == ["a", "b", "c", "a", "c"]
    assert w.error("restart_child", id="b") == "not_found"


def test_b23_a_nested_cause_travels_intact():
    root_cause = ExitReason("abnormal", "disk is full", exit_code=3, cause=SEGFAULT)
    inner = supervisor("s", worker("s/a"), intensity=0)
    w = world(inner, intensity=0).boot()
    w.crash("s/a", root_cause)
    assert w.exit is not None
    assert w.exit.kind == "shutdown"
    assert w.exit.cause is not None
    assert w.exit.cause.kind == "shutdown"
    assert w.exit.cause.cause is root_cause
    assert ExitReason.from_dict(w.exit.to_dict()) == w.exit
    assert str(w.exit) == (
        "supervisor root gave up: child s was restarted too often: supervisor s gave up: "
        "child s/a was restarted too often: disk is full: killed by signal 11"
    )


def test_b24_spaced_crashes_never_use_up_the_budget():
    w = world(worker("a"), intensity=1, period=10).boot()
    for _ in range(50):
        w.advance(10.001)
        w.crash("a")
        assert w.states() == {"a": "running"}  # at once: it had been healthy
    assert w.exit is None


def test_b24_the_window_is_inclusive():
    w = world(worker("a"), intensity=1, period=10).boot()
    w.crash("a")
    w.advance(10.0)
    w.crash("a")
    assert w.exit is not None


def test_b25_the_sibling_is_untouched_and_one_too_many_stops_the_supervisor():
    w = world(worker("a"), worker("b"), intensity=2, period=100).boot()
    sibling = w.pid("b")
    for _ in range(2):
        w.advance(6)
        w.crash("a")
        assert w.pid("b") == sibling
    assert w.exit is None
    w.advance(6)
    w.crash("a")
    assert w.ended[-1] == "b"
    assert w.exit is not None
    assert w.exit.kind == "shutdown"
    assert [(r.child, r.reason) for r in w.kinds("reached_max_restart_intensity")] == [("a", CRASH)]


def test_b26_a_child_that_cannot_start_takes_its_siblings():
    w = world(worker("a"), worker("b"), intensity=3, period=60).boot()
    w.habits["b"] = "fail"
    w.crash("b")
    w.advance(60)
    assert w.started == ["a", "b", "b", "b", "b"]
    assert w.ended[-1] == "a"
    assert w.exit is not None
    assert w.exit.cause == CRASH
    assert len(w.kinds("start_error")) == 3


def test_b27_one_for_all_leaves_no_old_process():
    w = world(worker("a"), worker("b"), worker("c"), strategy="one_for_all").boot()
    old = set(w.living)
    w.ended.clear()
    w.crash("b")
    assert not old & set(w.living)
    assert w.ended == ["b", "c", "a"]
    assert w.started == ["a", "b", "c"] * 2


def test_b27_a_bystander_that_crashes_meanwhile_costs_no_restart():
    w = world(worker("a"), worker("b"), worker("c"), strategy="one_for_all", intensity=1).boot()
    w.process("c").habit = "lingering"
    w.crash("a")
    w.crash("b")  # not yet asked to stop: c is awaited
    w.end(w.process("c"), CRASH)
    w.settle()
    assert w.started == ["a", "b", "c"] * 2
    assert w.states() == {"a": "running", "b": "running", "c": "running"}
    assert not w.timers


def test_b28_one_for_all_tears_the_half_restarted_group_down_first():
    w = world(worker("a"), worker("b"), worker("c"), strategy="one_for_all", intensity=10).boot()
    w.habits["c"] = "fail"
    w.ended.clear()
    w.crash("a")  # c fails twice: at once, and in the retry that follows at once; then it waits
    assert w.states() == {"a": "running", "b": "running", "c": "restarting"}
    assert w.ended == ["a", "c", "b", "c", "b", "a", "c"]
    del w.habits["c"]
    half = w.pid("a"), w.pid("b")
    w.ended.clear()
    w.advance(0.1)
    assert w.ended == ["b", "a"]
    assert w.states() == {"a": "running", "b": "running", "c": "running"}
    assert half[0] not in w.living
    assert half[1] not in w.living


def test_b29_rest_for_one_leaves_earlier_siblings_alone():
    w = world(worker("a"), worker("b"), worker("c"), strategy="rest_for_one").boot()
    first = w.pid("a")
    w.ended.clear()
    w.crash("b")
    assert w.pid("a") == first
    assert w.ended == ["b", "c"]
    assert w.started == ["a", "b", "c", "b", "c"]


def test_b30_rest_for_one_keeps_the_earlier_restarted_child():
    w = world(worker("a"), worker("b"), worker("c"), strategy="rest_for_one", intensity=10).boot()
    w.habits["b"] = "fail"
    w.crash("a")
    assert w.states() == {"a": "running", "b": "restarting", "c": "undefined"}
    kept = w.pid("a")
    del w.habits["b"]
    w.advance(1)
    assert w.pid("a") == kept
    assert w.states() == {"a": "running", "b": "running", "c": "running"}


def test_backoff_doubles_from_first_to_limit_within_its_jitter():
    flags = SupervisorFlags(backoff_first=0.1, backoff_limit=30.0)
    assert backoff(flags, 0, 0.9) == 0.0
    longest = [backoff(flags, n, 0.0) for n in range(1, 12)]
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])
    shortest = [backoff(flags, n, 0.999) for n in range(1, 12)]
    assert all(0.1 <= short <= long for short, long in zip(shortest, longest, strict=True))
    assert backoff(flags, 10_000, 0.5) == 22.5


def test_backoff_is_reset_by_a_healthy_period():
    w = world(worker("a"), intensity=100).boot()
    w.crash("a")
    for delay, lived in [(0.1, 0.0), (0.2, 4.9), (0.4, 5.1)]:
        w.crash("a")
        assert w.states() == {"a": "restarting"}
        w.advance(delay + lived)
    w.crash("a")
    assert w.states() == {"a": "running"}


def test_backoff_never_hides_an_attempt_from_the_budget():
    w = world(worker("a"), intensity=2, period=1.0, backoff_first=2.0).boot()
    for _ in range(20):  # attempts are 2 s apart at least: never three within a second
        w.crash("a")
        w.advance(40)
    assert w.exit is None
    w = world(worker("a"), intensity=2, period=1.0, healthy=0.001).boot()
    for _ in range(3):  # always healthy, so never a wait: the third within a second is too many
        w.advance(0.3)
        w.crash("a")
    assert w.exit is not None


def test_stale_news_of_a_replaced_process_changes_nothing():
    w = world(worker("a")).boot()
    old = w.process("a")
    w.crash("a")
    assert w.send(Exited("a", old.pid, old.incarnation, CRASH)) == []
    assert w.send(Exited("a", w.pid("a"), old.incarnation, CRASH)) == []
    assert w.send(Exited("a", old.pid, 2, CRASH)) == []
    w.crash("a")
    (timer,) = [e for e in w.log if isinstance(e, SetTimer)]
    w.result("terminate_child", id="a")
    assert w.send(TimerFired(timer.key)) == []
    assert w.names() == []


def test_incarnations_grow_by_one_and_outlive_the_child():
    w = world(worker("a", "temporary")).boot()
    w.crash("a")
    w.result("start_child", spec=worker("a", "temporary"))
    assert w.process("a").incarnation == 2


def test_a_group_member_that_dies_while_the_group_starts_restarts_the_group():
    w = world(worker("a"), worker("b"), strategy="one_for_all", intensity=5, healthy=0.001).boot()
    w.advance(1)
    w.habits["b"] = "slow"
    w.crash("a")
    assert w.states() == {"a": "running", "b": "starting"}
    w.habits["b"] = "ready"
    w.advance(1)
    w.crash("a")
    assert w.states() == {"a": "running", "b": "running"}
    assert len(w.names()) == 2


def test_a_hung_child_is_dumped_terminated_killed_and_restarted():
    w = world(worker("a", shutdown=60_000), habits={"a": "deaf"}).boot()
    pid = w.pid("a")
    w.hang("a")
    assert [type(e).__name__ for e in w.log[-3:]] == ["Dump", "Terminate", "SetTimer"]
    w.advance(1.0)
    assert w.pid("a") != pid
    (report,) = w.kinds("child_terminated")
    assert report.reason == ExitReason("abnormal", "hung", cause=KILLED)


def test_a_child_that_hangs_while_starting_has_failed_to_start():
    w = world(habits={"a": "deaf_slow"}).boot()
    request = w.ask("start_child", spec=worker("a"))
    w.hang("a")
    w.advance(1.0)
    assert w.answers[request].code == "start_failed"
    assert w.states() == {}


def test_terminating_a_hung_child_wins_over_its_restart():
    w = world(worker("a"), habits={"a": "deaf"}).boot()
    w.hang("a")
    request = w.ask("terminate_child", id="a")
    w.advance(100)
    assert request in w.answers
    assert w.states() == {"a": "undefined"}
