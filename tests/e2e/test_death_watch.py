"""Death watch as any client has it, and changing the tree's flags while it runs."""

from __future__ import annotations

import os
import queue
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from daemon import wait_until

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


def _ask(daemon: Daemon, op: str, **body: Any) -> dict[str, Any]:
    with daemon.client_in_use() as client:
        return client.request(op, body, to="supervisor", limit=60, repeatable=True)


def _watched(daemon: Daemon, name: str) -> tuple[int, queue.Queue[dict[str, Any]]]:
    """Watch it from a client of its own; returns its incarnation and where notices come."""
    incarnation = _ask(daemon, "actors.watch", name=name)["incarnation"]
    notices: queue.Queue[dict[str, Any]] = queue.Queue()

    def watch() -> None:
        notices.put(_ask(daemon, "actors.watch", name=name, incarnation=incarnation))

    threading.Thread(target=watch, daemon=True).start()
    return incarnation, notices


def test_a_watch_ends_once_with_the_reason(daemon: Daemon):
    incarnation, notices = _watched(daemon, "events")
    old = daemon.kill_actor("events")
    notice = notices.get(timeout=30)
    assert (notice["name"], notice["incarnation"]) == ("events", incarnation)
    assert (notice["reason"]["kind"], notice["reason"].get("signal")) in (
        ("killed", signal.SIGKILL),
        ("abnormal", None),  # it was dead before it was watched
    )
    wait_until("events is back", lambda: daemon.healed("events", old))
    assert notices.empty()
    again = _ask(daemon, "actors.watch", name="events")
    assert (again["incarnation"], again["reason"]) == (incarnation + 1, {})


def test_a_watch_outlives_the_supervisor(daemon: Daemon):
    incarnation, notices = _watched(daemon, "metrics")
    old = daemon.kill_actor("supervisor")
    wait_until("the supervisor is back", lambda: daemon.healed("supervisor", old))
    assert notices.empty()
    os.kill(daemon.pid("metrics"), signal.SIGKILL)
    notice = notices.get(timeout=30)
    assert (notice["name"], notice["incarnation"]) == ("metrics", incarnation)
    wait_until("all is well", lambda: all(one["state"] == "running" for one in daemon.actors().values()))


def test_one_that_has_ended_or_never_was_is_told_at_once(daemon: Daemon):
    for name, incarnation in (("events", 999), ("container/default/none", 1)):
        notice = _ask(daemon, "actors.watch", name=name, incarnation=incarnation)
        assert notice["reason"]["kind"] == "abnormal"
        assert "before it was watched" in notice["reason"]["text"]


def _passing(daemon: Daemon) -> list[str]:
    """Actors that end by themselves."""
    return [name for name, one in daemon.actors().items() if one["kind"] in ("puller", "job")]


def test_flags_are_changed_while_it_runs(daemon: Daemon):
    wait_until("the pull before all this has ended", lambda: not _passing(daemon))
    where = {"supervisor": "containers"}
    pids = {name: one["pid"] for name, one in daemon.actors().items()}
    spec = _ask(daemon, "supervision.call", **where, operation="get_child_spec")["result"]
    spec["flags"]["intensity"] = 77
    _ask(daemon, "supervision.call", **where, operation="change", args={"spec": spec})
    found = _ask(daemon, "supervision.call", **where, operation="get_child_spec")["result"]
    assert found["flags"]["intensity"] == 77
    assert {name: one["pid"] for name, one in daemon.actors().items()} == pids
    counts = _ask(daemon, "supervision.call", supervisor="root", operation="count_children")["result"]
    assert counts["active"] == counts["specs"]


def test_reports_are_event_log_line_and_metric(daemon: Daemon):
    old = daemon.kill_actor("content")
    wait_until("content is back", lambda: daemon.healed("content", old))
    assert "child_terminated of content" in daemon.log.read_text()
    with daemon.client_in_use() as client:
        assert client.request("introspection.actors", {}, to="supervisor")["reports"]["child_terminated"] >= 1

    def told() -> str:
        return daemon.actr("events", "-A", "--no-follow", "--since", "5m").stdout

    wait_until("it is told", lambda: "/actors/child_terminated" in told())
