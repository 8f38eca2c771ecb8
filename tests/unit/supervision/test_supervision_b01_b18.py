"""Behaviours 1 to 18 of docs/supervision.md: starting, stopping for once, calls and specifications."""

import pytest
from simulated_world import CRASH, KILLED, SEGFAULT, dynamic, supervisor, worker, world

from actors.supervision import (
    NORMAL,
    SHUTDOWN,
    Call,
    ChildSpec,
    Exited,
    ExitReason,
    InvalidSpecError,
    Kill,
    ReplyError,
    Shutdown,
    StartFailed,
    SupervisorFlags,
    Terminate,
    new_tree,
)


def test_b01_a_supervisor_that_ignores_is_no_crash():
    w = world(supervisor("off", worker("off/a"), enabled=False), worker("b")).boot()
    assert w.states() == {"off": "undefined", "b": "running"}
    assert w.names() == ["b"]
    assert w.kinds("start_error") == []


def test_b01_a_root_that_ignores_ends_normally():
    w = world(worker("a"), enabled=False).boot()
    assert w.exit == NORMAL
    assert not w.started
    assert [r.kind for r in w.reports] == []


def test_b02_a_child_that_ignores_keeps_its_specification():
    w = world(worker("a"), worker("b"), habits={"a": "ignore"}).boot()
    assert w.states() == {"a": "undefined", "b": "running"}
    assert w.counts() == (2, 1, 0, 2)
    started = w.result("start_child", spec={"id": "c", "kind": "k"})
    w.habits["d"] = "ignore"
    ignored = w.result("start_child", spec={"id": "d", "kind": "k"})
    assert isinstance(started, dict)
    assert isinstance(ignored, dict)
    assert (started["pid"], ignored["pid"]) == (w.pid("c"), None)
    assert w.states()["d"] == "undefined"


def test_b03_a_temporary_child_that_ignores_is_dropped():
    w = world(worker("a", "temporary"), worker("b"), habits={"a": "ignore", "c": "ignore"}).boot()
    assert w.states() == {"b": "running"}
    w.result("start_child", spec=worker("c", "temporary"))
    assert w.states() == {"b": "running"}


@pytest.mark.parametrize("habit", ["fail", "fork_fails", "crash_while_starting"])
def test_b04_a_bad_start_is_an_error_without_a_stray_exit(habit):
    w = world(worker("a"), habits={"b": "slow" if habit == "crash_while_starting" else habit}).boot()
    request = w.ask("start_child", spec=worker("b"))
    if habit == "crash_while_starting":
        w.crash("b")
    answer = w.answers[request]
    assert isinstance(answer, ReplyError)
    assert answer.code == "start_failed"
    assert "child b could not start: crash" in answer.text
    before = len(w.reports)
    w.send(Exited("b", w.next_pid, 1, CRASH))  # the exit of the process behind the failed start
    assert len(w.reports) == before
    assert w.states() == {"a": "running"}
    assert w.kinds("child_terminated") == []


def test_b05_start_child_that_fails_keeps_no_specification():
    w = world(worker("a"), habits={"b": "fail"}).boot()
    assert w.error("start_child", spec=worker("b")) == "start_failed"
    assert w.states() == {"a": "running"}
    assert w.error("restart_child", id="b") == "not_found"
    del w.habits["b"]
    assert w.result("start_child", spec=worker("b"))
    assert w.process("b").incarnation == 2


def test_b06_restart_child_that_fails_keeps_the_specification():
    w = world(worker("a")).boot()
    w.result("terminate_child", id="a")
    w.habits["a"] = "fail"
    assert w.error("restart_child", id="a") == "start_failed"
    assert w.states() == {"a": "undefined"}
    w.advance(100)
    assert w.states() == {"a": "undefined"}
    del w.habits["a"]
    assert w.result("restart_child", id="a")


def test_b07_defaults_are_readable_back():
    w = world(ChildSpec("a", kind="k")).boot()
    assert w.result("get_child_spec", id="a") == {
        "id": "a",
        "kind": "k",
        "args": {},
        "restart": "permanent",
        "shutdown": 5000.0,
        "type": "worker",
        "significant": False,
        "enabled": True,
    }
    plain = ChildSpec("s", type="supervisor").to_dict()
    assert plain["shutdown"] == "infinity"
    assert plain["children"] == []
    assert plain["flags"] == {
        "strategy": "one_for_one",
        "intensity": 1,
        "period": 5.0,
        "auto_shutdown": "never",
        "backoff_first": 0.1,
        "backoff_limit": 30.0,
        "healthy": 5.0,
    }


def test_b07_a_whole_tree_survives_its_plain_form():
    spec = supervisor("root", worker("a", args={"n": [1, None]}), supervisor("s", worker("s/a")), dynamic())
    assert ChildSpec.from_dict(spec.to_dict()) == spec
    w = world(worker("a"), supervisor("s", worker("s/a")), dynamic())
    assert ChildSpec.from_dict(w.result("get_child_spec")) == w.tree.root.spec


def test_b08_a_specification_needs_id_and_kind_and_may_have_unknown_keys():
    with pytest.raises(InvalidSpecError, match="id: must be a non-empty string"):
        ChildSpec.from_dict({"kind": "k"})
    with pytest.raises(InvalidSpecError, match="kind: must name the program to start"):
        ChildSpec.from_dict({"id": "a"})
    assert ChildSpec.from_dict({"id": "a", "kind": "k", "colour": "red"}) == ChildSpec("a", kind="k")


def test_b09_infinity_is_valid_for_a_worker():
    w = world(worker("a", shutdown="infinity"), habits={"a": "lingering"}).boot()
    w.shut_down()
    assert w.timers == {}
    w.advance(100_000)
    assert w.exit is None
    w.end(w.process("a"), NORMAL)
    w.settle()
    assert w.exit == SHUTDOWN


def test_b10_a_deaf_child_is_killed_and_its_sibling_stops_cleanly():
    w = world(worker("a"), worker("deaf", shutdown=1000), habits={"deaf": "deaf"}).boot()
    w.shut_down()
    assert w.names() == ["a", "deaf"]
    w.advance(0.999)
    assert "deaf" in w.names()
    w.advance(0.001)
    assert w.ended == ["deaf", "a"]
    assert w.exit == SHUTDOWN
    assert [(r.child, r.reason) for r in w.kinds("shutdown_error")] == [("deaf", KILLED)]


def test_b11_brutal_kill_gives_reason_killed():
    w = world(worker("a", shutdown="brutal_kill")).boot()
    pid = w.pid("a")
    w.result("terminate_child", id="a")
    assert Kill("a", pid) in w.log
    assert Terminate("a", pid) not in w.log
    (entry,) = w.result("which_children")
    assert entry["reason"] == {"kind": "killed", "signal": 9}
    assert w.kinds("shutdown_error") == []


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, CRASH, KILLED])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_b12_children_that_exit_during_shutdown_do_not_disturb_it(restart, reason):
    w = world(worker("a", restart), worker("b", restart), worker("c"), habits={"c": "lingering"}).boot()
    w.send(Shutdown())
    for name in ("a", "b"):  # not yet asked: c is awaited
        w.crash(name, reason)
    w.end(w.process("c"), reason)
    w.settle()
    assert w.exit == SHUTDOWN
    assert w.started == ["a", "b", "c"]


@pytest.mark.parametrize(
    "reason",
    [SEGFAULT, ExitReason("abnormal", "", exit_code=255), ExitReason("abnormal", "\N{SNOWMAN}" * 99)],
)
def test_b13_odd_exit_reasons_do_not_break_the_shutdown(reason):
    w = world(worker("a"), worker("b"), habits={"b": "lingering"}).boot()
    w.send(Shutdown())
    w.end(w.process("b"), reason)
    w.settle()
    assert w.exit == SHUTDOWN
    assert [r.reason for r in w.kinds("shutdown_error")] == [reason]


def test_b14_start_information_is_passed_through():
    w = world().boot()
    assert w.result("start_child", spec=worker("a")) == {
        "id": "a",
        "pid": w.pid("a"),
        "incarnation": 1,
        "info": {"of": "a"},
    }


def test_b15_every_call_has_its_errors():
    w = world(worker("a"), habits={"slow": "slow"}).boot()
    assert w.error("start_child", spec=worker("a")) == "already_started"
    assert w.error("restart_child", id="a") == "running"
    assert w.error("delete_child", id="a") == "running"
    w.result("terminate_child", id="a")
    w.result("terminate_child", id="a")  # twice is fine
    assert w.error("start_child", spec=worker("a")) == "already_present"
    w.result("delete_child", id="a")
    for operation in ("terminate_child", "restart_child", "delete_child", "get_child_spec"):
        assert w.error(operation, id="a") == "not_found"
        assert w.error(operation, "nobody", id="a") == "not_found"
    assert w.error("sing") == "invalid_argument"
    assert w.error("start_child", spec={"id": "b"}) == "invalid_argument"
    assert w.error("start_child", spec=3) == "invalid_argument"
    w.ask("start_child", spec=worker("slow"))
    assert w.error("start_child", spec=worker("slow")) == "already_started"
    assert w.error("delete_child", id="slow") == "running"


def test_b15_a_child_between_two_restarts_is_restarting():
    w = world(worker("a")).boot()
    w.crash("a")
    w.crash("a")
    assert w.states() == {"a": "restarting"}
    assert w.error("start_child", spec=worker("a")) == "already_started"
    assert w.error("restart_child", id="a") == "restarting"
    assert w.error("delete_child", id="a") == "restarting"
    w.result("terminate_child", id="a")
    assert w.states() == {"a": "undefined"}


def test_b15_a_tree_that_has_ended_is_unavailable():
    w = world(worker("a")).boot()
    w.shut_down()
    assert w.error("which_children") == "unavailable"


def test_b16_dynamic_a_foreign_id_is_not_found_and_a_dead_one_is_fine():
    w = world(worker("a"), dynamic("pool"), dynamic("other", worker("other/template"))).boot()
    w.result("start_child", "other", id="theirs")
    w.result("start_child", "pool", id="mine")
    for name in ("theirs", "a", "never"):
        assert w.error("terminate_child", "pool", id=name) == "not_found"
        assert w.error("restart_child", "pool", id=name) == "not_found"
        assert w.error("delete_child", "pool", id=name) == "not_found"
    w.result("terminate_child", "pool", id="mine")
    assert w.states("pool") == {}
    w.result("terminate_child", "pool", id="mine")
    assert w.error("delete_child", "pool", id="mine") == "not_found"
    assert w.names() == ["a", "theirs"]


BAD_FIELDS = [
    ("id", ""),
    ("id", 7),
    ("id", ["a"]),
    ("id", "a\nb"),
    ("id", "a" * 513),
    ("kind", None),
    ("args", [1]),
    ("args", {"f": object()}),
    ("args", {"f": b"no text"}),
    ("args", {1: 2}),
    ("restart", "sometimes"),
    ("shutdown", -1),
    ("shutdown", "now"),
    ("shutdown", float("nan")),
    ("shutdown", True),
    ("type", "boss"),
    ("significant", 1),
    ("significant", True),
    ("enabled", "yes"),
    ("children", "a"),
    ("flags", 3),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_b17_each_invalid_field_is_named(field, value):
    with pytest.raises(InvalidSpecError, match=f"{field}: ") as caught:
        ChildSpec.from_dict({"id": "a", "kind": "k", field: value})
    assert caught.value.code == "invalid_argument"
    assert all(problem.startswith(field) for problem in caught.value.problems)


def test_b17_all_invalid_fields_are_named_at_once():
    with pytest.raises(InvalidSpecError) as caught:
        ChildSpec.from_dict({"id": "", "kind": 3, "restart": "x", "type": "y"})
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["id", "kind", "restart", "type"]


def test_b17_duplicate_ids_are_refused_in_the_whole_tree():
    with pytest.raises(InvalidSpecError, match="'a' is used twice"):
        supervisor("root", worker("a"), worker("a"))
    with pytest.raises(InvalidSpecError, match="'a' is used twice"):
        supervisor("root", worker("a"), supervisor("s", worker("a")))
    with pytest.raises(InvalidSpecError, match="'root' is used twice"):
        supervisor("root", worker("root"))


def test_b17_what_a_peer_sends_is_bounded():
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    with pytest.raises(InvalidSpecError, match="args: nested deeper"):
        worker("a", args={"deep": deep})
    with pytest.raises(InvalidSpecError, match="args: more than"):
        worker("a", args={"wide": [0] * 200_000})
    with pytest.raises(InvalidSpecError, match=r"args: .* bytes, more than"):
        worker("a", args={"long": "\N{SNOWMAN}" * 30_000})
    nested: dict[str, object] = {"id": "s", "type": "supervisor"}
    for n in range(40):
        nested = {"id": f"s{n}", "type": "supervisor", "children": [nested]}
    with pytest.raises(InvalidSpecError, match="children: nested deeper"):
        ChildSpec.from_dict(nested)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", "one_for_none"),
        ("intensity", -1),
        ("intensity", 1.5),
        ("intensity", True),
        ("period", 0),
        ("period", -5),
        ("period", "long"),
        ("period", float("inf")),
        ("auto_shutdown", "maybe"),
        ("backoff_first", 0),
        ("backoff_limit", 0.01),
        ("healthy", None),
    ],
)
def test_b18_bad_flags_are_refused(field, value):
    with pytest.raises(InvalidSpecError, match=f"{field}: "):
        SupervisorFlags(**{field: value})


def test_b18_shapes_that_make_no_sense_are_refused():
    with pytest.raises(InvalidSpecError, match="exactly one, its template"):
        supervisor("pool", strategy="dynamic")
    with pytest.raises(InvalidSpecError, match="must be a worker"):
        supervisor("pool", supervisor("s"), strategy="dynamic")
    with pytest.raises(InvalidSpecError, match="only a supervisor has"):
        ChildSpec("a", kind="k", children=(worker("b"),))
    with pytest.raises(InvalidSpecError, match="the root must be a supervisor"):
        new_tree(worker("a"), lambda: 0.0)


def test_failed_initial_start_stops_what_was_started_and_names_the_child():
    w = world(worker("a"), worker("b"), worker("c"), habits={"b": "fail"}).boot()
    assert w.started == ["a", "b"]
    assert w.ended == ["b", "a"]
    assert w.exit is not None
    assert str(w.exit) == "child b could not start: crash"
    assert w.exit.cause == CRASH
    assert [(r.supervisor, r.child) for r in w.kinds("start_error")] == [("root", "b"), ("root", "root")]


def test_failed_initial_start_goes_up_level_by_level():
    w = world(worker("a"), supervisor("s", worker("s/a"), worker("s/b")), habits={"s/b": "fork_fails"}).boot()
    assert w.ended == ["s/a", "a"]
    assert str(w.exit) == "child s could not start: child s/b could not start: crash"


def test_calls_are_answered_once_though_events_come_late_or_twice():
    w = world(habits={"a": "slow"}).boot()
    w.send(Call("r", "start_child", {"supervisor": "root", "spec": worker("a")}))
    w.send(StartFailed("a", 7, CRASH))  # of another incarnation
    assert w.answers == {}
    w.settle()
    w.make_ready(w.process("a"))
    w.pending.append(w.pending[0])
    w.settle()
    assert list(w.answers) == ["r"]
