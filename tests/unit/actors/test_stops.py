"""Who stops or kills a container is answered when it stays so, whatever its policy does at that moment."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from journalled import at_once

from actors import lifecycle as life
from actors import messages as m
from actors.container_requests import Requests
from actors.lifecycle import State
from actors.linux.pidfd import Process
from transport.errors import RemoteError

WAITS = State("exited", run=1, pid=5, start_time=6, settled=True, policy="always", exit_code=1)
RUNNING = State("running", run=1, pid=5, start_time=6, policy="always")


class _Call:
    def __init__(self, body: Any = None) -> None:
        self.open, self.answers, self.body = True, [], body

    def settle(self, result: Any) -> None:
        self.open = False
        self.answers.append(result)

    reply = fail = settle


class _Container(Requests):
    """Whose effects are only noted, and whose questions wait for the test."""

    def __init__(self, state: State) -> None:
        self.namespace, self.id, self.state, self.asked, self.effects = "n", "c", state, [], []
        self.record = {"name": "web", "options": {}}
        self.removal = SimpleNamespace(retired=False)
        self.streams = SimpleNamespace(serve=lambda _: None)
        self.killed: list[Process] = []
        self.graces: list[float] = []
        self.control = SimpleNamespace(kill=self.killed.append, signal_to_stop=self.graces.append)
        self._wants_start, self._wants_exit, self._told_run = [], [], 0
        self.copying = SimpleNamespace(mounted=0)

    when_saved = staticmethod(at_once)  # type: ignore[assignment]

    def happened(self, fact: Any) -> None:
        self.state, effects = life.decide(self.state, fact)
        self.effects += effects

    def ask(self, body: Any, then: Any, **_: Any) -> None:
        self.asked.append((body, then))

    def is_recorded(self, wanted: m.Wanted = "stopped") -> None:
        (body, then) = self.asked.pop(0)
        assert body == m.ContainersWant("n", "c", wanted)
        then({})


def test_a_stop_between_two_runs_is_answered_once_it_counts():
    container, call = _Container(WAITS), _Call()
    container.tasks_stop(m.TasksStop(), call)
    assert call.answers == [], "killed now, we would go on with the policy"
    container.is_recorded()
    assert [answer["exit_code"] for answer in call.answers] == [1]
    assert container.state.halted


def test_a_stop_that_the_policy_overtakes_is_answered_with_the_next_end():
    container, call = _Container(WAITS), _Call()
    container.tasks_stop(m.TasksStop(), call)
    container.happened(life.RestartDue(1))
    container.is_recorded()
    assert container.state.halted
    assert (call.answers, container._wants_exit) == ([], [call])


@pytest.mark.parametrize("policy", ["no", "always"])
def test_what_has_not_been_started_cannot_be_stopped(policy: str):
    container, call = _Container(State(policy=policy)), _Call()
    container.tasks_stop(m.TasksStop(), call)
    if policy != "no":
        container.is_recorded()
    assert [str(answer) for answer in call.answers] == ["container web has not been started"]


def test_a_kill_lets_one_that_stands_still_go_on_to_its_end():
    """Which `kill` does, of the control; frozen, it would not hear the signal."""
    container, call = _Container(replace(RUNNING, policy="no", paused=True)), _Call()
    container.tasks_kill(m.TasksKill(9), call)
    assert container.killed == [Process(5, 6)]
    assert container.asked == []


def test_a_kill_is_for_whatever_runs_when_it_is_on_record():
    container, call = _Container(RUNNING), _Call()
    container.tasks_kill(m.TasksKill(9), call)
    container.state = State("running", run=2, pid=7, start_time=8, policy="always")
    container.is_recorded()
    assert container.killed == [Process(7, 8)]
    assert (len(call.answers), container.state.halted) == (1, True)


def test_a_kill_that_comes_late_keeps_the_policy_off():
    container, call = _Container(RUNNING), _Call()
    container.tasks_kill(m.TasksKill(9), call)
    container.state = WAITS
    container.is_recorded()
    assert container.killed == []
    assert (len(call.answers), container.state.halted) == (1, True)


ENDED = State("exited", run=1, pid=5, start_time=6, policy="on-failure")


def test_a_restart_of_what_ends_for_good_meanwhile_starts_it():
    """The policy has no part in it: nobody else would, and who asked would wait for ever."""
    container, call = _Container(replace(RUNNING, policy="on-failure")), _Call()
    container.tasks_restart(m.TasksRestart(), call)
    container.state = replace(ENDED, settled=True)
    container.is_recorded("running")
    container.is_recorded("running")
    assert (container.state.phase, container.state.run) == ("preparing", 2)
    assert container._wants_start == [call]


def test_a_restart_of_what_is_just_ending_follows_that():
    container, call = _Container(replace(RUNNING, policy="on-failure")), _Call()
    container.tasks_restart(m.TasksRestart(), call)
    container.state = ENDED
    container.is_recorded("running")
    container.happened(life.Settled())
    assert (container.state.phase, container.state.run, container.asked) == ("preparing", 2, [])
    assert container._wants_start == [call]


def test_a_restart_that_the_policy_has_made_meanwhile_is_not_made_twice():
    container, call = _Container(RUNNING), _Call()
    container.tasks_restart(m.TasksRestart(run=2), call)
    container.state = State("running", run=2, pid=7, start_time=8, policy="always")
    container.is_recorded("running")
    container.is_recorded("running")
    assert (container.graces, container.state.again) == ([], False)
    assert life.Effect.ANSWER_START in container.effects


def test_a_restart_of_what_is_removed_meanwhile_says_so():
    container, call = _Container(RUNNING), _Call()
    container.tasks_restart(m.TasksRestart(), call)
    container.state = State("removing", run=1, remove=True)
    container.is_recorded("running")
    assert [str(answer) for answer in call.answers] == ["container web is being removed"]


def test_one_that_removes_itself_is_not_restarted_since_it_would_be_gone():
    container, call = _Container(replace(RUNNING, policy="no", auto_remove=True)), _Call()
    with pytest.raises(RemoteError, match="container web removes itself when it has ended") as refused:
        container.tasks_restart(m.TasksRestart(), call)
    assert (refused.value.code, container.graces) == ("failed_precondition", [])
    container.state = State(auto_remove=True)
    container.tasks_restart(m.TasksRestart(), call)
    assert container.state.phase == "preparing", "one that has not run yet is only started"


@pytest.mark.parametrize(
    ("body", "begun"),
    [(m.TasksStart(), False), (m.TasksStart(2), False), (m.TasksCreate(), False), (m.TasksStart(1), True)],
)
def test_what_was_removed_before_it_was_started_has_not_been_started(body: Any, begun: bool):
    """The removal came while the wish was recorded, say. A run that has begun has been started."""
    container, call = _Container(State("gone", run=1, remove=True)), _Call(body)
    container.wait_for_start(call)
    container._answer_start()
    (answer,) = call.answers
    assert answer == {"status": "gone", "pid": 0} if begun else "before it was started" in str(answer)
