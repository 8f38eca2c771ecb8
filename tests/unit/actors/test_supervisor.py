"""The supervisor's own part: what it tells the router, metadata and the zygote of what the tree decides."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from actors import messages as m
from actors import supervisor
from actors.meter import Meter
from actors.restoring import RESTORE_AGAIN
from actors.settings import Settings
from actors.supervisor import START_AGAIN, WAKE_LOOK, SupervisorActor
from actors.tree import TREE
from transport.envelope import note
from transport.errors import RemoteError

WORKERS = [child.id for child in TREE.children if child.type == "worker"]
CONTAINER, PULLER = "container/n/one", "puller/n/two"
RECORD = {"containers": [{"namespace": "n", "id": "one", "created_at": 7}]}


class House:
    """All that a supervisor hears and says, without a process of its own; the test is the zygote."""

    def __init__(self, path: Any) -> None:
        self.spawned: list[str] = []
        self.handed: list[Any] = []  # to each that was spawned
        self.told: list[tuple[str, Any]] = []
        self.asked: list[tuple[str, Any]] = []
        self.timers: list[tuple[float, Any]] = []
        self.pid = 1000
        settings = Settings(root=path / "root", state=path / "state")
        birth = SimpleNamespace(
            name="supervisor", inc=1, instance="this", settings=settings, args={"zygote_since": 0.0}
        )
        later = lambda seconds, function: self.timers.append((seconds, function))  # noqa: E731
        pump = SimpleNamespace(send=self._sent, call_later=later)
        self.actor = SupervisorActor(SimpleNamespace(birth=birth, say=self._said, pump=pump, meter=Meter()))
        self.actor.started()

    def _said(self, *, op: str, name: str = "", told: Any = None, **_: Any) -> None:
        if op == "spawn":
            self.spawned.append(name)
            self.handed.append(told)

    def _sent(self, message: Any) -> None:
        if message.type == "NOTE":
            self.told.append((message.op, message.value()))
        else:
            self.asked.append((message.op, message.id))

    def work_off(self) -> None:
        """What it has left for itself in its mailbox."""
        inbox = self.actor.actor_inbox
        while not inbox.empty():
            self.actor.on_receive(inbox.get().message)

    def happens(self, ev: str, name: str, inc: int = 1, **more: Any) -> None:
        self.pid += 1
        self.actor.told({"ev": ev, "name": name, "inc": inc, "pid": self.pid, **more})
        self.work_off()

    def adopts(self, *names: str) -> None:
        """It has followed one that died, and these have lived on."""
        common = {"inc": 1, "pid": 7, "args": {}, "ready": True, "since": 0.0}
        children = [{"name": name, "kind": name.partition("/")[0], **common} for name in names]
        self.actor.told({"ev": "adopt", "children": children})
        self.actor.told({"ev": "children"})
        self.work_off()

    def come_up(self) -> None:
        """Whoever it starts of the static tree is ready."""
        while ready := set(WORKERS) & set(self.spawned):
            self.spawned = [name for name in self.spawned if name not in ready]
            for name in ready:
                self.happens("ready", name)

    def answers(self, op: str, result: Any) -> None:
        """The question of that kind gets this answer."""
        identity = next(identity for asked, identity in self.asked if asked == op)
        self.asked.remove((op, identity))
        question = self.actor._questions.open.pop(identity)
        question.then(result)
        self.work_off()

    def starts(self, name: str, inc: int = 1) -> None:
        """The zygote has forked it, and it is ready."""
        for ev in ("spawned", "ready"):
            self.actor.told({"ev": ev, "name": name, "inc": inc, "pid": 7})
        self.work_off()

    def dies(self, name: str, inc: int = 1, status: int = 9) -> None:
        self.actor.told({"ev": "exited", "name": name, "inc": inc, "pid": 7, "status": status, "reason": ""})
        self.work_off()

    def passes(self, seconds: float) -> None:
        """Its timers of that length come to their end."""
        due = [one for one in self.timers if one[0] == seconds]
        self.timers = [one for one in self.timers if one[0] != seconds]
        for _, function in due:
            function()
        self.work_off()

    def forgotten(self) -> list[str]:
        return [body["name"] for op, body in self.told if op == "router.forget"]

    def released(self) -> list[str]:
        return [op for op, _ in self.asked if op == "leases.release"]


@pytest.fixture
def house(tmp_path):
    found = House(tmp_path)
    yield found
    found.actor.actor_ref.stop(block=False)


def test_a_container_that_dies_before_it_is_claimed_is_expected_back(house):
    house.adopts(CONTAINER)
    house.dies(CONTAINER)
    assert house.forgotten() == []
    house.come_up()
    house.answers("containers.list", RECORD)
    assert house.spawned == [CONTAINER]
    last = [body for op, body in house.told if op == "router.expect"][-1]
    assert last["all"]
    assert CONTAINER in last["names"]


def test_a_bundle_made_while_the_record_is_asked_for_is_nobodys_leftover(house, tmp_path):
    """Else an actor that takes its container for a former one's would clear it away."""
    left = tmp_path / "state/containers/n/left"
    left.mkdir(parents=True)
    house.adopts(*WORKERS)
    (tmp_path / "state/containers/n/new").mkdir()
    house.answers("containers.list", {"containers": []})
    assert house.spawned == ["container/n/left"]


def test_the_router_hears_of_those_who_ended_while_there_was_no_supervisor(house):
    """Whoever waits for an answer of theirs would do so without end."""
    known = {"ev": "incarnations", "incarnations": {"router": 1, PULLER: 3, CONTAINER: 1}}
    house.actor.told(known)
    house.adopts(*WORKERS, CONTAINER)
    assert [body for op, body in house.told if op == "router.ended"] == [{"ends": {PULLER: 3}}]


def test_one_that_ends_in_order_is_forgotten(house):
    house.adopts(*WORKERS, CONTAINER)
    house.dies(CONTAINER, status=0)
    assert house.forgotten() == [CONTAINER]


def test_a_container_whose_first_start_fails_is_started_once_more_without_its_client(house):
    house.adopts(*WORKERS)
    house.answers("containers.list", {"containers": []})
    answers: list[Any] = []
    call = SimpleNamespace(fail=answers.append, reply=answers.append)
    wish = m.ChildrenStart("container", CONTAINER, {"namespace": "n", "id": "one", "created_at": 7})
    house.actor.children_start(wish, call)
    house.actor.told({"ev": "spawned", "name": CONTAINER, "inc": 1, "pid": 7})
    house.dies(CONTAINER)
    (refused,) = answers
    assert isinstance(refused, RemoteError)
    assert refused.retryable
    assert house.forgotten() == []
    house.passes(RESTORE_AGAIN)
    house.answers("containers.list", RECORD)
    assert house.spawned == [CONTAINER, CONTAINER]


@pytest.fixture
def asked_for(house):
    """What it has asked under a name, and not been answered."""
    return lambda op: [
        house.actor._questions.open[identity].envelope.value()
        for asked, identity in house.asked
        if asked == op
    ]


def test_a_list_that_does_not_come_is_asked_for_again_but_not_at_once(house, asked_for):
    house.adopts(*WORKERS)
    assert [body["brief"] for body in asked_for("containers.list")] == [True]
    house.answers("containers.list", RemoteError("internal", "no room"))
    assert asked_for("containers.list") == []
    house.passes(RESTORE_AGAIN)
    house.answers("containers.list", RECORD)
    assert house.spawned == [CONTAINER]


def test_a_list_in_pages_is_asked_for_to_its_end_before_anybody_is_started(house, asked_for):
    house.adopts(*WORKERS)
    two = [{"namespace": "n", "id": name, "created_at": 7} for name in ("one", "two")]
    house.answers("containers.list", {"containers": two[:1], "next": "n one"})
    assert house.spawned == []
    assert [(body["page"], body["after"]) for body in asked_for("containers.list")] == [(True, "n one")]
    house.answers("containers.list", {"containers": two[1:], "next": ""})
    assert house.spawned == [CONTAINER, "container/n/two"]


@pytest.mark.parametrize(("instance", "released"), [("this", 0), ("another", 1)])
def test_the_lease_of_one_that_is_still_to_be_claimed_is_not_released(house, instance, released):
    house.adopts(PULLER)
    lease = {"holder": PULLER, "instance": instance, "incarnation": 1}
    house.answers("leases.list", {"leases": [lease]})
    assert len(house.released()) == released


def test_a_container_of_the_same_id_waits_for_the_end_of_the_one_before(house):
    house.adopts(*WORKERS)
    house.answers("containers.list", RECORD)
    house.starts(CONTAINER)
    answers: list[Any] = []
    call = SimpleNamespace(fail=answers.append, reply=answers.append, open=True)
    same = m.ChildrenStart("container", CONTAINER, {"namespace": "n", "id": "one", "created_at": 7})
    house.actor.children_start(same, call)
    assert answers == [{"actor": CONTAINER}]
    house.actor.children_start(m.ChildrenStart("container", CONTAINER, {**same.args, "created_at": 8}), call)
    assert len(answers) == 1
    house.dies(CONTAINER, status=0)
    house.passes(START_AGAIN)
    assert house.spawned == [CONTAINER, CONTAINER]
    house.starts(CONTAINER, inc=2)
    assert answers == [{"actor": CONTAINER}] * 2


def test_what_is_told_is_for_the_one_that_is_spawned_at_once(house):
    house.adopts(*WORKERS)
    house.answers("containers.list", {"containers": []})
    call = SimpleNamespace(fail=lambda _: None, reply=lambda _: None, open=True)
    args = {"namespace": "n", "id": "one", "created_at": 7}
    wish = m.ChildrenStart("container", CONTAINER, args, told={"record": 7})
    house.actor.children_start(wish, call)
    house.dies(CONTAINER)
    house.passes(RESTORE_AGAIN)
    house.answers("containers.list", RECORD)
    house.starts(CONTAINER, inc=2)
    house.actor.children_start(
        m.ChildrenStart("container", CONTAINER, {**args, "created_at": 8}, {"record": 8}), call
    )
    house.dies(CONTAINER, inc=2, status=0)
    house.passes(START_AGAIN)
    assert house.handed == [{"record": 7}, None, None], "who waits for a turn may be the second to have one"


@pytest.mark.parametrize("odd", [b"no text", "x" * 200_000])
@pytest.mark.parametrize("field", ["args", "told"])
def test_what_cannot_be_said_to_the_zygote_is_refused(house, field, odd):
    """On its way there it would end the supervisor, and so would each time that the client asks again."""
    house.adopts(*WORKERS)
    answers: list[Any] = []
    call = SimpleNamespace(fail=answers.append, reply=answers.append, open=True)
    fields = {"args": {"namespace": "n"}, "told": {}}
    fields[field]["odd"] = odd
    try:
        house.actor.children_start(m.ChildrenStart("job", "job/n/one", **fields), call)
    except RemoteError as error:  # as it is answered
        answers.append(error)
    assert [error.code for error in answers] == ["invalid_argument"]
    assert house.spawned == []


def test_who_does_not_say_which_container_is_meant_takes_the_one_that_runs(house):
    house.adopts(*WORKERS)
    house.answers("containers.list", RECORD)
    house.starts(CONTAINER)
    answers: list[Any] = []
    call = SimpleNamespace(fail=answers.append, reply=answers.append, open=True)
    house.actor.children_start(m.ChildrenStart("container", CONTAINER, {"namespace": "n", "id": "one"}), call)
    assert answers == [{"actor": CONTAINER}]


def falls_asleep(house: House, *, watched: bool = True) -> None:
    """Of a container that runs, or of one that has ended."""
    house.adopts(*WORKERS, CONTAINER)
    house.answers("containers.list", RECORD)
    word = {"status": 0, "reason": "", "asleep": True, "watched": watched}
    house.actor.told({"ev": "exited", "name": CONTAINER, "inc": 1, "pid": 7, **word})
    house.work_off()


def states(house: House) -> dict[str, str]:
    return {name: node.phase.value for name, node in house.actor._tree.nodes.items()}


def test_one_that_falls_asleep_before_it_is_claimed_is_expected_too(house):
    house.adopts(CONTAINER)
    word = {"status": 0, "reason": "", "asleep": True, "watched": True}
    house.actor.told({"ev": "exited", "name": CONTAINER, "inc": 1, "pid": 7, **word})
    house.work_off()
    assert ("router.expect", {"names": [CONTAINER], "asleep": [CONTAINER]}) in house.told
    assert house.forgotten() == []
    house.come_up()
    house.answers("containers.list", RECORD)
    assert states(house)[CONTAINER] == "asleep"
    assert house.spawned == []


def test_one_that_sleeps_is_expected_and_neither_forgotten_nor_counted(house):
    falls_asleep(house)
    assert states(house)[CONTAINER] == "asleep"
    assert ("router.expect", {"names": [CONTAINER], "asleep": [CONTAINER]}) in house.told
    assert house.forgotten() == []
    assert house.spawned == []
    assert house.actor._roster.row(CONTAINER, "container", 2, "asleep")["restarts"] == 0


@pytest.mark.parametrize("word", ["stirred", "wanted", "forged"])
def test_the_zygotes_word_and_the_routers_wake_it_and_no_other(house, word):
    falls_asleep(house)
    if word == "stirred":
        house.actor.told({"ev": "stirred", "name": CONTAINER})
    else:
        sender = "router" if word == "wanted" else "~client"
        house.actor.on_receive(note("supervisor", "router.wanted", {"name": CONTAINER}).forwarded(sender))
    assert house.spawned == ([] if word == "forged" else [CONTAINER])


def test_before_a_stop_whoever_sleeps_over_a_process_is_woken(house):
    falls_asleep(house)
    house.actor.told({"ev": "shutdown"})
    assert house.spawned == [CONTAINER]
    assert states(house)["metadata"] == "running"  # without which nobody starts
    house.starts(CONTAINER, 2)
    house.passes(WAKE_LOOK)
    assert "running" not in {states(house)[name] for name in ("grpc", CONTAINER) if name in states(house)}


def test_a_stop_does_not_wait_for_who_does_not_wake(house, monkeypatch):
    monkeypatch.setattr(supervisor, "WAKE_LIMIT", -1.0)
    falls_asleep(house)
    house.actor.told({"ev": "shutdown"})
    assert states(house)["containers"] == "stopping"


def test_nobody_is_woken_for_a_stop_over_what_has_ended(house):
    falls_asleep(house, watched=False)
    house.actor.told({"ev": "shutdown"})
    assert house.spawned == []
    assert states(house)["grpc"] == "stopping"


def test_one_that_is_to_stop_before_it_knows_of_anybody_stops_them_in_order(house):
    """It has followed one that died during the stop, and hears of that first."""
    house.actor.told({"ev": "shutdown"})
    house.adopts(*WORKERS)
    found = states(house)
    assert found["grpc"] == "stopping"
    assert {found[name] for name in WORKERS if name != "grpc"} == {"running"}


def test_and_wakes_those_whom_the_one_before_had_not(house):
    house.actor.told({"ev": "shutdown"})
    sleeper = {"name": CONTAINER, "kind": "container", "inc": 1, "pid": 0, "args": {}, "ready": True}
    house.actor.told({"ev": "adopt", "children": [{**sleeper, "first": 1, "wakers": ["fifo"]}]})
    house.adopts(*WORKERS)
    assert states(house)["grpc"] == "running"
    house.answers("containers.list", RECORD)
    assert house.spawned == [CONTAINER]
    house.passes(WAKE_LOOK)
    assert states(house)["grpc"] == "running"
    house.starts(CONTAINER, 2)
    house.passes(WAKE_LOOK)
    assert "running" not in {states(house)[name] for name in ("grpc", CONTAINER) if name in states(house)}
