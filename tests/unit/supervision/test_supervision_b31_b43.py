"""Behaviours 31 to 43 of docs/supervision.md: dynamic children, escalation, order, adoption, live change."""

import sys

import pytest
import simulated_world
from simulated_world import CRASH, dynamic, supervisor, worker, world

from actors.supervision import (
    NORMAL,
    SHUTDOWN,
    Kill,
    SetTimer,
    Spawn,
    StartFailed,
    decide,
)

STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"]


def test_b31_dynamic_children_stop_in_parallel_under_one_timer():
    w = world(worker("a"), dynamic("pool", worker("template", shutdown=2000))).boot()
    for n in range(10):
        w.habits[f"c{n}"] = "deaf" if n % 2 else "lingering"
        w.result("start_child", "pool", id=f"c{n}")
    w.log.clear()
    w.shut_down()
    assert len([e for e in w.log if type(e).__name__ == "Terminate"]) == 10
    assert len([e for e in w.log if isinstance(e, SetTimer)]) == 1
    w.end(w.process("c0"), NORMAL)
    w.settle()
    w.advance(2.0)
    assert w.exit == SHUTDOWN
    assert len([e for e in w.log if isinstance(e, Kill)]) == 9
    assert w.ended[-1] == "a"


def test_b32_dynamic_ignore_at_restart_removes_the_child():
    w = world(dynamic()).boot()
    w.result("start_child", "pool", id="c")
    w.habits["c"] = "ignore"
    w.crash("c")
    assert w.states("pool") == {}
    assert w.counts("pool") == (1, 0, 0, 0)


def test_b33_temporary_arguments_are_not_retained():
    w = world(dynamic("pool", worker("template", "temporary", args={"kept": "no"}))).boot()
    w.result("start_child", "pool", id="c", args={"large": "x" * 1000})
    assert w.process("c").spec.args == {"kept": "no", "large": "x" * 1000}
    assert w.result("get_child_spec", "pool", id="c")["args"] == {}
    w.result("start_child", id="d", spec=worker("d", "transient", args={"kept": "yes"}))
    assert w.result("get_child_spec", id="d")["args"] == {"kept": "yes"}


def test_b34_a_child_that_breaks_its_link_does_not_hang_the_stop():
    # It has closed its channel: no heartbeat, no answer, no reaction to SIGTERM. Its pidfd still tells.
    w = world(worker("a"), worker("gone"), habits={"gone": "deaf"}).boot()
    w.hang("gone")
    w.shut_down()
    w.advance(1.0)
    assert w.exit == SHUTDOWN
    assert w.ended == ["gone", "a"]


def test_b35_escalation_rebuilds_the_static_tree():
    w = world(supervisor("s", worker("s/a"), worker("s/b", "temporary"), intensity=1, period=60)).boot()
    w.result("start_child", "s", spec=worker("s/extra"))
    w.crash("s/b")
    assert w.states("s") == {"s/a": "running", "s/extra": "running"}
    w.crash("s/a")
    w.crash("s/a")
    w.advance(0.1)
    assert w.states("s") == {"s/a": "running", "s/b": "running"}
    assert w.states() == {"s": "running"}
    assert w.names() == ["s/a", "s/b"]
    assert [(r.supervisor, r.child) for r in w.kinds("reached_max_restart_intensity")] == [("s", "s/a")]


def test_b35_totals_multiply_per_level():
    inner = supervisor("s", worker("s/a"), intensity=2, period=1000)
    w = world(inner, intensity=1, period=1000, healthy=0.001).boot()
    crashes = 0
    while w.exit is None:
        w.advance(10)
        w.crash("s/a")
        crashes += 1
        w.advance(30)
    assert crashes == (2 + 1) * (1 + 1)


def test_b36_restarting_children_are_not_counted_active():
    w = world(worker("a"), worker("b"), supervisor("s")).boot()
    assert w.counts() == (3, 3, 1, 2)
    w.crash("a")
    w.crash("a")
    assert w.states()["a"] == "restarting"
    assert w.counts() == (3, 2, 1, 2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_b37_a_loop_of_failing_restarts_stays_queryable_and_stoppable(strategy):
    children = worker("a"), worker("b"), worker("c")
    w = world(*children, strategy=strategy, intensity=1000, period=1).boot()
    w.habits["b"] = "fail"
    w.crash("b")
    for _ in range(20):
        w.advance(1.0)
        assert w.states()["b"] == "restarting"
        assert w.counts()[0] == 3
        assert w.error("restart_child", id="b") == "restarting"
    w.result("terminate_child", id="b")
    assert w.states() == {"a": "running", "b": "undefined", "c": "running"}  # the others go on
    w.advance(1000)
    assert w.states() == {"a": "running", "b": "undefined", "c": "running"}
    w.habits.clear()
    w.result("restart_child", id="b")
    assert w.states()["b"] == "running"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_b37_shutdown_during_a_loop_of_failing_restarts(strategy):
    w = world(worker("a"), worker("b"), worker("c"), strategy=strategy, intensity=1000, period=1).boot()
    w.habits["b"] = "fail"
    w.crash("b")
    w.advance(3)
    w.shut_down()
    assert w.exit == SHUTDOWN
    assert not w.timers


def test_b38_start_order_and_its_exact_reverse():
    inner = supervisor("s", worker("c"), supervisor("t", worker("d")), worker("e"))
    w = world(worker("a"), worker("b"), inner, worker("f"), habits={"b": "slow"}).boot()
    assert w.started == ["a", "b"]  # synchronous: the next one waits for this one
    w.make_ready(w.process("b"))
    w.settle()
    assert w.started == ["a", "b", "c", "d", "e", "f"]
    w.shut_down()
    assert w.ended == ["f", "e", "d", "c", "b", "a"]
    assert w.exit == SHUTDOWN


def _lines_run(count: int, monkeypatch, *, static: bool) -> int:
    """How many lines of code the tree runs to start, restart and stop `count` children."""
    lines = 0

    def trace(_frame, event, _argument):
        nonlocal lines
        lines += event == "line"
        return trace

    def traced(*arguments):
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            return decide(*arguments)
        finally:
            sys.settrace(before)

    monkeypatch.setattr(simulated_world, "decide", traced)
    children = [worker(f"w{n}") for n in range(count if static else 0)]
    w = world(*children, dynamic(intensity=10**6), intensity=10**6)
    w.check = False
    w.boot()
    for n in range(0 if static else count):
        w.ask("start_child", "pool", id=f"c{n}")
    for process in list(w.living.values()):
        w.end(process, CRASH)
    w.settle()
    assert len(w.living) == count
    w.shut_down()
    assert w.exit == SHUTDOWN
    assert len(w.ended) == count
    return lines


@pytest.mark.parametrize("static", [True, False])
def test_b39_many_children_take_near_linear_time(static, monkeypatch):
    # Counted in lines, not seconds: eight times the children; quadratic work would be 64 times as much.
    small = _lines_run(100, monkeypatch, static=static)
    large = _lines_run(800, monkeypatch, static=static)
    assert large < 9 * small


def test_b39_ten_thousand_dynamic_children():
    count = 10_000
    w = world(dynamic(intensity=10**6)).boot()
    w.check = w.exclusive = False
    for n in range(count):
        w.ask("start_child", "pool", id=f"c{n}")
    assert w.counts("pool") == (1, count, 0, count)
    w.crash("c5000")
    assert w.counts("pool") == (1, count, 0, count)
    w.shut_down()
    assert (w.exit, len(w.ended)) == (SHUTDOWN, count)


def test_b41_a_significant_temporary_child_shuts_its_supervisor_down_after_any_exit():
    for reason in (NORMAL, CRASH):
        child = worker("a", "temporary", significant=True)
        w = world(worker("z"), child, worker("b"), auto_shutdown="any_significant").boot()
        w.crash("a", reason)
        assert w.ended == ["a", "b", "z"]
        assert w.exit is not None
        assert (w.exit.kind, w.exit.cause) == ("shutdown", reason)


def test_b41_a_significant_transient_child_does_so_after_a_normal_exit_only():
    w = world(worker("a", "transient", significant=True), auto_shutdown="any_significant").boot()
    w.crash("a", CRASH)
    assert w.states() == {"a": "running"}
    w.crash("a", NORMAL)
    assert w.exit is not None


def test_b41_all_significant_waits_for_the_last():
    pair = [worker(name, "transient", significant=True) for name in ("a", "b")]
    w = world(*pair, worker("c"), auto_shutdown="all_significant").boot()
    w.crash("c", NORMAL)
    w.crash("a", NORMAL)
    assert w.exit is None
    w.crash("b", SHUTDOWN)
    assert w.exit is not None


def test_b41_bystanders_and_stopped_children_trigger_nothing():
    child = worker("a", "temporary", significant=True)
    w = world(child, worker("b"), auto_shutdown="any_significant", strategy="one_for_all").boot()
    w.crash("b")
    assert w.states() == {"b": "running"}
    again = worker("c", "transient", significant=True)
    w = world(again, worker("b"), auto_shutdown="any_significant").boot()
    w.result("terminate_child", id="c")
    assert w.exit is None


def test_b41_auto_shutdown_goes_up_through_significant_supervisors():
    job = worker("s/a", "temporary", significant=True)
    inner = supervisor("s", job, auto_shutdown="any_significant", restart="transient", significant=True)
    w = world(worker("z"), inner, auto_shutdown="any_significant").boot()
    w.crash("s/a", NORMAL)
    assert w.ended == ["s/a", "z"]
    assert w.exit is not None
    assert w.exit.kind == "shutdown"


def test_b41_a_permanent_supervisor_comes_back_after_auto_shutdown():
    inner = supervisor("s", worker("s/a", "temporary", significant=True), auto_shutdown="any_significant")
    w = world(inner).boot()
    w.crash("s/a", NORMAL)
    assert w.states("s") == {"s/a": "running"}
    assert w.process("s/a").incarnation == 2


def test_b41_significance_is_refused_where_it_would_mean_nothing():
    w = world(worker("a"), dynamic()).boot()
    child = worker("b", "transient", significant=True)
    assert w.error("start_child", spec=child) == "invalid_argument"


def test_b42_flags_and_specifications_change_live():
    w = world(worker("a"), worker("b"), supervisor("s", worker("s/a")), intensity=0).boot()
    old = dict(w.living)
    changed = supervisor(
        "root",
        worker("new", args={"n": 1}),
        worker("a", args={"n": 2}),
        supervisor("s", worker("s/a", args={"n": 3}), strategy="one_for_all"),
        intensity=5,
        strategy="rest_for_one",
    )
    w.result("change", spec=changed.to_dict())
    assert dict(w.living) == old
    assert w.states() == {"new": "undefined", "a": "running", "s": "running", "b": "running"}
    w.result("restart_child", id="new")
    w.crash("a")
    assert w.process("a").spec.args == {"n": 2}
    assert w.process("s/a").spec.args == {"n": 3}
    assert w.process("s/a").incarnation == 2
    assert w.result("get_child_spec") == changed.to_dict()
    w.result("terminate_child", id="b")
    w.result("delete_child", id="b")
    assert list(w.states()) == ["new", "a", "s"]


def test_b42_a_dynamic_template_changes_live():
    w = world(dynamic()).boot()
    w.result("start_child", "pool", id="c", args={"own": 1})
    changed = dynamic("pool", worker("template", "transient", args={"common": 2}))
    w.result("change", "pool", spec=changed)
    w.crash("c")
    assert w.process("c").spec.args == {"common": 2, "own": 1}
    assert w.process("c").spec.restart == "transient"


def test_b42_a_change_that_cannot_be_made_changes_nothing():
    w = world(worker("a"), supervisor("s", worker("s/a")), dynamic()).boot()
    before = w.result("get_child_spec")
    clashes = supervisor("root", worker("s")), supervisor("root", worker("s/a"))
    for bad in (supervisor("other"), *clashes, supervisor("root", supervisor("pool", worker("x")))):
        assert w.error("change", spec=bad) == "invalid_argument"
    assert w.error("change", "s", spec=dynamic("s")) == "invalid_argument"
    assert w.result("get_child_spec") == before


def test_b43_a_name_clash_is_returned_and_not_adopted():
    w = world(worker("a"), supervisor("s", worker("s/a")), dynamic()).boot()
    pid = w.pid("s/a")
    assert w.error("start_child", spec=worker("s/a")) == "already_started"
    assert w.error("start_child", "pool", id="a") == "already_started"
    assert w.error("start_child", "pool", id="root") == "already_started"
    assert w.error("start_child", spec=supervisor("t", worker("a"))) == "already_started"
    assert w.pid("s/a") == pid
    assert w.states("pool") == {}
    assert list(w.states()) == ["a", "s", "pool"]


def test_b43_a_static_name_stays_reserved_while_its_child_is_gone():
    w = world(supervisor("s", worker("s/a", "temporary")), dynamic()).boot()
    w.crash("s/a")
    assert w.error("start_child", "pool", id="s/a") == "already_started"
    assert w.result("start_child", "s", spec=worker("s/a", "temporary"))


def test_b43_a_process_that_finds_its_name_taken_is_an_error():
    w = world(dynamic(), habits={"c": "slow"}).boot()
    w.ask("start_child", "pool", id="c")
    w.living.clear()
    (spawn,) = [e for e in w.log if isinstance(e, Spawn)]
    w.send(StartFailed("c", spawn.incarnation, CRASH))
    assert w.answers[1].code == "start_failed"
    assert w.states("pool") == {}
