"""Behaviour 40 of docs/supervision.md: a supervisor that was killed takes its name and its children again."""

from simulated_world import CRASH, KILLED, adopt, dynamic, supervisor, worker, world

from actors.supervision import SHUTDOWN, Adopt, Boot, Exited, Kill, Shutdown, new_tree, retire


def test_b40_a_killed_supervisor_takes_its_name_again():
    w = world(worker("a"), supervisor("s", worker("s/a")), dynamic()).boot()
    w.result("start_child", "pool", id="c1", args={"image": "x"})
    w.result("start_child", "pool", id="c2")
    before = {p.name: p.pid for p in w.living.values()}
    w.end(w.process("a"), KILLED)  # it dies together with the supervisor
    owners = {"s/a": "s", "c1": "pool", "c2": "pool"}
    w.pending.clear()
    w.tree = new_tree(w.tree.root.spec, lambda: 0.0)
    for process in list(w.living.values()):
        w.send(adopt(process, owners[process.name]))
    w.started.clear()
    w.send(Boot({"a": 1}))
    w.settle()
    assert w.started == ["a"]
    assert w.process("a").incarnation == 2
    assert {n: w.pid(n) for n in owners} == {n: before[n] for n in owners}
    assert w.result("get_child_spec", "pool", id="c1")["args"] == {"image": "x"}
    w.crash("s/a")
    w.crash("c1")
    assert w.process("s/a").incarnation == 2
    assert w.process("c1").incarnation == 2
    w.shut_down()
    assert not w.living


def test_b40_an_adopted_process_that_is_gone_before_its_turn_is_started():
    w = world(worker("a"), worker("b"), habits={"a": "slow"})
    assert w.send(Adopt("root", worker("b"), 77, 5)) == []
    w.boot()
    assert w.started == ["a"]
    w.send(Exited("b", 77, 5, CRASH))  # b's turn has not come: a is not ready yet
    w.make_ready(w.process("a"))
    w.settle()
    assert w.started == ["a", "b"]
    assert w.process("b").incarnation == 6


def test_b40_unclaimed_and_older_processes_are_killed():
    w = world(worker("a"))
    w.send(Adopt("root", worker("a"), 70, 3))
    assert w.send(Adopt("root", worker("a"), 71, 4)) == [Kill("a", 70)]
    w.send(Adopt("nobody", worker("stranger"), 72, 1))
    w.boot()
    assert w.started == []
    assert Kill("stranger", 72) in w.log
    assert w.states() == {"a": "running"}
    assert w.send(Adopt("root", worker("a"), 71, 4)) == []
    assert w.send(Adopt("root", worker("a"), 70, 3)) == [Kill("a", 70)]
    w = world(worker("a"))
    w.send(Adopt("root", worker("a"), 70, 3))
    assert Kill("a", 70) in w.send(Shutdown())
    assert w.exit == SHUTDOWN


def test_b40_a_process_that_registers_late_fills_the_vacancy_it_left():
    w = world(worker("a"), dynamic()).boot()
    w.crash("a")
    w.crash("a")
    assert w.states()["a"] == "restarting"
    w.send(Adopt("root", worker("a"), 70, 9))
    w.send(Adopt("pool", worker("c"), 71, 2))
    assert w.states() == {"a": "running", "pool": "running"}
    assert w.states("pool") == {"c": "running"}
    assert not w.timers
    w.send(Adopt("pool", worker("late"), 72, 1))
    assert w.states("pool") == {"c": "running", "late": "running"}


def test_b40_a_dynamic_supervisor_asks_for_its_children_whenever_it_starts():
    w = world(dynamic(intensity=0)).boot()
    assert w.restores == ["pool"]
    w.result("start_child", "pool", id="c1")
    w.result("start_child", "pool", id="c2")
    w.crash("c1")
    assert w.restores == ["pool", "pool"]
    assert w.states("pool") == {}
    assert w.names() == []
    assert w.result("start_child", "pool", id="c1")


def test_the_number_of_a_name_is_forgotten_only_when_nobody_has_it():
    w = world(worker("a"), dynamic()).boot()
    w.result("start_child", "pool", id="c1")
    w.send(Adopt("pool", worker("c2", restart="transient"), 77, 5))
    assert not any(retire(w.tree, name) for name in ("a", "pool", "c1"))
    w.result("terminate_child", "pool", id="c1")
    assert retire(w.tree, "c1")
    assert not retire(w.tree, "c1")
    w.result("start_child", "pool", id="c1")
    assert w.process("c1").incarnation == 1
